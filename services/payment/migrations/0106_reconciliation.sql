-- What Stripe knows is compared with what is known here, in two ways: event by event, from Stripe's
-- own list, and payment by payment, for those open too long.

-- migrate:up
CREATE TABLE reconciliation (
    compared    text PRIMARY KEY CHECK (compared IN ('events', 'payments')),
    reached     timestamptz NOT NULL,
    turn_at     timestamptz NOT NULL DEFAULT '-infinity',
    lease_token uuid
);

COMMENT ON TABLE reconciliation IS 'how far each comparison with Stripe has come, and who is at it';
COMMENT ON COLUMN reconciliation.reached IS
    'events: all that Stripe created before are known here, or on their way through Kafka. '
    'payments: all checks that fell due before are made';
COMMENT ON COLUMN reconciliation.turn_at IS 'when somebody last worked at it';
COMMENT ON COLUMN reconciliation.lease_token IS 'of the replica whose turn it is';

-- Nothing at Stripe is about us from before our first payment. Its list goes back 30 days.
INSERT INTO reconciliation (compared, reached)
SELECT 'events', greatest(coalesce(min(created_at), now()), now() - interval '30 days')
  FROM payments
 UNION ALL
SELECT 'payments', coalesce(min(created_at), now())
  FROM payments;

-- Payments are looked for by age, which never changes, so that updates stay HOT. A partial index on
-- those that are open would be smaller, but cost each payment a sixth more.
CREATE INDEX payments_by_age ON payments (created_at);

-- migrate:down
DROP INDEX payments_by_age;
DROP TABLE reconciliation;
