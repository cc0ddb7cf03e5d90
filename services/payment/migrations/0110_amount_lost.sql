-- A lost dispute takes money back without a refund. A file of its own: see "The database" in
-- CONTRIBUTING.md. Null in rows of replicas of the version before.

-- migrate:up
ALTER TABLE payments ADD COLUMN amount_lost bigint DEFAULT 0;

COMMENT ON COLUMN payments.amount_lost IS 'what banks took back by disputes that were lost';

-- migrate:down
ALTER TABLE payments DROP COLUMN amount_lost;
