-- The outbox holds what a transaction decided to send until Kafka has acknowledged it: one row per
-- transaction, with all of its messages. A batch of 500 orders sends thousands of messages; written
-- and deleted one by one they would cost the database more than the orders themselves.
--
-- Whoever commits a row publishes it right away; when it dies, the row's lease runs out and a sweeper
-- publishes it. Unsent rows are found by state, never by a cursor: a row that commits late cannot be
-- skipped.

-- migrate:up
CREATE TABLE outbox (
    id           uuid PRIMARY KEY,
    messages     text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz
) WITH (
    -- Rows live for a fraction of a second: the table is all churn and is vacuumed by count.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 20000
);

COMMENT ON COLUMN outbox.messages IS
    'JSON: an array of messages, each an array; the view outbox_messages names its fields';
COMMENT ON COLUMN outbox.leased_until IS
    'set by sweepers; a new row belongs to its writer for the lease''s time after created_at';

-- Compressing what is deleted in a moment is wasted.
ALTER TABLE outbox ALTER COLUMN messages SET STORAGE EXTERNAL;

-- For people: what waits to be published, message by message.
CREATE VIEW outbox_messages AS
SELECT outbox.id AS outbox_id,
       (message ->> 0)::uuid AS message_id,
       message ->> 1 AS topic,
       message ->> 2 AS key,
       message ->> 3 AS type,
       message ->> 4 AS source,
       (message ->> 5)::timestamptz AS time,
       message ->> 6 AS correlation_id,
       (message ->> 7)::uuid AS causation_id,
       message ->> 8 AS traceparent,
       message -> 9 AS payload,
       outbox.created_at
  FROM outbox, json_array_elements(messages::json) AS message;

-- migrate:down
DROP VIEW outbox_messages;
DROP TABLE outbox;
