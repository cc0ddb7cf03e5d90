-- Messages that a service could not handle, with all that is needed to look into them and to
-- handle them later. Messages of the same key that come afterwards wait here too, so that a replay
-- keeps their order.

-- migrate:up
CREATE TABLE parked_messages (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state            text NOT NULL CONSTRAINT valid_parked_state
                     CHECK (state IN ('parked', 'waiting', 'replay', 'replayed', 'discarded')),
    message_id       uuid,
    message_type     text,
    source_topic     text NOT NULL,
    source_partition int NOT NULL,
    source_offset    bigint NOT NULL,
    key              text,
    headers          jsonb NOT NULL,  -- name -> base64 of the value, or null
    payload          bytea,
    reason           text NOT NULL,
    attempts         int NOT NULL,
    parked_at        timestamptz NOT NULL DEFAULT now(),
    closed_at        timestamptz,
    closed_by        text,
    close_reason     text,
    -- A record that has no readable id is known by its place on the topic.
    CONSTRAINT one_row_per_record UNIQUE (source_topic, source_partition, source_offset)
);

COMMENT ON COLUMN parked_messages.state IS
    'parked: failed, needs a person. waiting: behind an earlier message of its key. '
    'replay: a person asked to try again. replayed, discarded: closed.';

CREATE INDEX parked_messages_open ON parked_messages (key, id)
 WHERE state IN ('parked', 'waiting', 'replay');

-- migrate:down
DROP TABLE parked_messages;
