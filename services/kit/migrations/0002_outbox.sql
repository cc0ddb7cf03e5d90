-- The outbox holds what a transaction decided to send until Kafka has acknowledged it. Whoever
-- commits a row publishes it right away, under a lease; when it dies, the lease runs out and the
-- sweeper publishes the row. Unsent rows are found by state, never by a cursor: a row that commits
-- late cannot be skipped.

-- migrate:up
CREATE TABLE outbox (
    message_id   uuid PRIMARY KEY,
    topic        text NOT NULL,
    key          text NOT NULL,
    headers      json NOT NULL,
    payload      text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz  -- set by sweepers; a new row belongs to its writer for a while
) WITH (
    -- Rows live for a fraction of a second: the table is all churn and must be vacuumed by count.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0
);

-- migrate:down
DROP TABLE outbox;
