-- A customer's bank may take money back long after an order is done. That is for people to settle
-- with the bank: here it is a flag, driven by what Stripe says of each dispute, and never a state of
-- the payment or the order. Both columns may be null: replicas of the version before insert whole
-- rows and know nothing of these.

-- migrate:up
ALTER TABLE payments
    ADD COLUMN disputed boolean DEFAULT false,
    ADD COLUMN disputes jsonb DEFAULT '{}';

COMMENT ON COLUMN payments.disputed IS 'a dispute is open';
COMMENT ON COLUMN payments.disputes IS 'Stripe''s status by dispute id, of all that there ever were';

-- Of columns that hardly ever change, so that other updates stay HOT.
CREATE INDEX payments_disputed ON payments (order_id) WHERE disputed;

-- migrate:down
ALTER TABLE payments
    DROP COLUMN disputes,
    DROP COLUMN disputed;
