-- Every webhook that was taken in, and what became of it. Stripe says "at least once, in any
-- order": this is where one looks when a payment is not what Stripe's dashboard shows.

-- migrate:up
CREATE TABLE stripe_events (
    event_id          text PRIMARY KEY,
    event_type        text NOT NULL,
    created           timestamptz NOT NULL,
    object_id         text NOT NULL,
    order_id          uuid,
    payment_intent_id text,
    outcome           text NOT NULL CONSTRAINT valid_event_outcome CHECK (outcome IN
                      ('applied', 'stale', 'checking', 'ignored', 'foreign', 'parked')),
    reason            text,
    received_at       timestamptz NOT NULL
);

COMMENT ON COLUMN stripe_events.outcome IS
    'applied: changed the payment. stale: nothing new. checking: Stripe is asked what is true. '
    'ignored: a type of no interest. foreign: not about an order of ours. parked: for a person.';

CREATE INDEX stripe_events_by_order ON stripe_events (order_id) WHERE order_id IS NOT NULL;
-- For forgetting old ones: rows come in the order of this column.
CREATE INDEX stripe_events_by_age ON stripe_events USING brin (received_at);

-- migrate:down
DROP TABLE stripe_events;
