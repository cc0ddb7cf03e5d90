-- A refund that Stripe refuses for good is not made again under its id: staff decide. Both columns may
-- be null: replicas of the version before insert whole rows and know nothing of these.

-- migrate:up
ALTER TABLE refunds
    ADD COLUMN failure_code text,
    ADD COLUMN final boolean DEFAULT false;

COMMENT ON COLUMN refunds.failure_code IS 'Stripe''s error code or failure reason';
COMMENT ON COLUMN refunds.final IS 'failed for good: asked again, it is answered so, and not made again';

-- migrate:down
ALTER TABLE refunds
    DROP COLUMN final,
    DROP COLUMN failure_code;
