-- Calls to Stripe that are decided but not finished. A call is written in the transaction that
-- decides it, made outside any transaction under its idempotency key, and deleted in the
-- transaction that records its outcome; a crash in between repeats it under the same key.
--
-- The primary key is the order: one call per order at a time, so a cancellation cannot overtake
-- the creation, and no answer is older than what a later call of the same order has shown.

-- migrate:up
CREATE TABLE stripe_calls (
    order_id        uuid PRIMARY KEY,  -- no foreign key: written with its payment, deleted first
    kind            text NOT NULL CONSTRAINT valid_call_kind CHECK (kind IN
                    ('create_intent', 'cancel_intent', 'retrieve_intent', 'create_refund')),
    parameters      json NOT NULL,
    idempotency_key text NOT NULL CONSTRAINT one_call_per_key UNIQUE,
    generation      int NOT NULL DEFAULT 1,
    look_first      boolean NOT NULL DEFAULT false,
    attempts        int NOT NULL DEFAULT 0,
    tries           int NOT NULL DEFAULT 0,
    key_made_at     timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    lease_token     uuid,
    last_error      text,
    traceparent     text,
    created_at      timestamptz NOT NULL DEFAULT now()
) WITH (
    -- A row lives for one call: the table is all churn and must be vacuumed by count.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0
);

COMMENT ON COLUMN stripe_calls.next_attempt_at IS
    'when to take the call; while lease_token is set, when the lease of its worker ends';
COMMENT ON COLUMN stripe_calls.generation IS
    'from 2 on it is appended to the key: a fresh key, after a look that the effect is not there';
COMMENT ON COLUMN stripe_calls.look_first IS
    'the key is spent (Stripe stored a 500 under it): look for the effect before using a new one';
COMMENT ON COLUMN stripe_calls.tries IS 'attempts under the key in use; attempts counts all';

CREATE INDEX stripe_calls_due ON stripe_calls (next_attempt_at);

-- migrate:down
DROP TABLE stripe_calls;
