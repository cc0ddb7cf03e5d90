-- Parked messages of all services as they were announced, and what people asked to be done with them.

-- migrate:up
CREATE TABLE letters (
    service          text NOT NULL,
    parked_id        bigint NOT NULL,
    version          int NOT NULL,
    state            text NOT NULL,
    reason           text NOT NULL,
    cause            text NOT NULL,
    attempts         int NOT NULL,
    message_id       uuid,
    message_type     text,
    correlation_id   text NOT NULL,
    source_topic     text NOT NULL,
    source_partition int NOT NULL,
    source_offset    bigint,
    source_key       text,
    parked_at        timestamptz,
    changed_by       text,
    change_reason    text,
    changed_at       timestamptz,
    PRIMARY KEY (service, parked_id)
);

COMMENT ON COLUMN letters.cause IS 'the reason without ids and numbers: what is alike has one cause';

CREATE INDEX letters_open ON letters (service, source_key, parked_id)
 WHERE state IN ('parked', 'waiting', 'replay');
CREATE INDEX letters_of_order ON letters (correlation_id);

CREATE TABLE operations (
    id             uuid PRIMARY KEY,
    operation      text NOT NULL CHECK (operation IN ('replay', 'discard')),
    service        text NOT NULL,
    parked_id      bigint NOT NULL,
    attempts       int NOT NULL,
    correlation_id text NOT NULL,
    requested_by   text NOT NULL,
    reason         text NOT NULL,
    requested_at   timestamptz NOT NULL,
    answered_at    timestamptz,
    problem        text,
    outcome        text,
    outcome_reason text
);

COMMENT ON COLUMN operations.id IS 'of the command that was sent';
COMMENT ON COLUMN operations.problem IS 'why the service did not do it';
COMMENT ON COLUMN operations.outcome IS
    'replayed, discarded, or parked: it was tried and failed again; NULL until that is known';

-- Who asks while the same is being done is told so.
CREATE UNIQUE INDEX one_open_operation ON operations (service, parked_id)
 WHERE problem IS NULL AND outcome IS NULL;
CREATE INDEX operations_of_order ON operations (correlation_id);

-- migrate:down
DROP TABLE operations, letters;
