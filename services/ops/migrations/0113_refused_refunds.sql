-- Refunds that Stripe refused for good: the order needs a decision of staff. And money that went back
-- by other ways than a refund.

-- migrate:up
ALTER TABLE orders
    ADD COLUMN refused_refund text,
    ADD COLUMN refused_amount bigint,
    ADD COLUMN refused_since  timestamptz,
    ADD COLUMN amount_lost    bigint NOT NULL DEFAULT 0,
    ADD COLUMN amount_settled bigint;

COMMENT ON COLUMN orders.refused_refund IS 'why Stripe refused; null where no decision is needed';
COMMENT ON COLUMN orders.refused_amount IS 'how much of the money the decision is about';
COMMENT ON COLUMN orders.amount_lost IS 'what banks took back by disputes that were lost';
COMMENT ON COLUMN orders.amount_settled IS 'what staff gave back outside Stripe; null where they settled nothing';

CREATE INDEX orders_refused ON orders (refused_since) WHERE refused_refund IS NOT NULL;

-- migrate:down
DROP INDEX orders_refused;
ALTER TABLE orders
    DROP COLUMN refused_refund,
    DROP COLUMN refused_amount,
    DROP COLUMN refused_since,
    DROP COLUMN amount_lost,
    DROP COLUMN amount_settled;
