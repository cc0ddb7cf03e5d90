-- A refund of a part: how much of one order's money goes back.

-- migrate:up
ALTER TABLE bulks ADD COLUMN amount bigint;

COMMENT ON COLUMN bulks.amount IS 'of a refund of one order, in minor units; null refunds what is left';

-- migrate:down
ALTER TABLE bulks DROP COLUMN amount;
