-- Stripe refuses some refunds for good: staff then decide, and may give the money back outside
-- Stripe. Each refund that was asked for keeps its id, and what staff said about the goods, until it
-- has ended. All columns have defaults, since replicas of the version before insert rows without.

-- migrate:up
ALTER TABLE orders
    ADD COLUMN refunds        json NOT NULL DEFAULT '[]',
    ADD COLUMN amount_lost    bigint NOT NULL DEFAULT 0,
    ADD COLUMN amount_settled bigint,
    ADD COLUMN refused_refund text;

COMMENT ON COLUMN orders.refunds IS 'the refunds that were asked for, the oldest first, and how each ended';
COMMENT ON COLUMN orders.amount_lost IS 'what the customer''s bank took back by disputes that were lost';
COMMENT ON COLUMN orders.amount_settled IS 'what staff gave back outside Stripe; null where they settled nothing';
COMMENT ON COLUMN orders.refused_refund IS 'why Stripe refused a refund for good: staff have to decide';

-- Without a scan while the table is locked; rows of before hold null.
ALTER TABLE orders ADD CONSTRAINT settles_no_more_than_total
    CHECK (amount_settled BETWEEN 0 AND coalesce(total, amount_settled)) NOT VALID;

CREATE INDEX orders_undecided ON orders (updated_at) WHERE refused_refund IS NOT NULL;

-- migrate:down
DROP INDEX orders_undecided;
ALTER TABLE orders
    DROP COLUMN refunds,
    DROP COLUMN amount_lost,
    DROP COLUMN amount_settled,
    DROP COLUMN refused_refund;
