-- A webhook may never come. What Stripe knows is therefore compared with what is known here, in two
-- ways: event by event, from Stripe's own list, and payment by payment, for those open too long.

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

CREATE INDEX refunds_unsettled ON refunds (created_at) WHERE status IN ('pending', 'failing');

ALTER TABLE stripe_events
    ADD COLUMN found boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT valid_event_outcome,
    ADD CONSTRAINT valid_event_outcome CHECK (outcome IN
        ('applied', 'stale', 'checking', 'ignored', 'foreign', 'parked', 'sent'));

COMMENT ON COLUMN stripe_events.found IS 'in Stripe''s list: its webhook had not come';
COMMENT ON COLUMN stripe_events.outcome IS
    'applied: changed the payment. stale: nothing new. checking: Stripe is asked what is true. '
    'ignored: a type of no interest. foreign: not about an order of ours. parked: for a person. '
    'sent: found in Stripe''s list, and on its way through Kafka.';

-- migrate:down
DELETE FROM stripe_events WHERE outcome = 'sent';
ALTER TABLE stripe_events
    DROP COLUMN found,
    DROP CONSTRAINT valid_event_outcome,
    ADD CONSTRAINT valid_event_outcome CHECK (outcome IN
        ('applied', 'stale', 'checking', 'ignored', 'foreign', 'parked'));
DROP INDEX refunds_unsettled;
DROP INDEX payments_by_age;
DROP TABLE reconciliation;
