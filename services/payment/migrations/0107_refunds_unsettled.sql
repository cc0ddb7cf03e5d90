-- Refunds on their way to the customer are compared with Stripe as open payments are. An index in a
-- transaction of its own: see "The database" in CONTRIBUTING.md.

-- migrate:up
CREATE INDEX refunds_unsettled ON refunds (created_at) WHERE status IN ('pending', 'failing');

-- migrate:down
DROP INDEX refunds_unsettled;
