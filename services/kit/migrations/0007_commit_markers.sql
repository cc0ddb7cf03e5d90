-- The database notes, about once a second and process, how far its history goes, and Kafka keeps the
-- id of that note beside the consumer group's offsets. A server that has forgotten a note that
-- Kafka has, was promoted or restored without its last commits (services/kit/failover.py).

-- migrate:up
CREATE TABLE commit_markers (
    id          uuid PRIMARY KEY DEFAULT uuidv7(),
    timeline    int NOT NULL,
    synchronous boolean NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE commit_markers IS
    'one row per commit of consumer offsets; rows of the last hour or two are kept';
COMMENT ON COLUMN commit_markers.timeline IS
    'of the server that wrote the row; a promotion begins a new one';
COMMENT ON COLUMN commit_markers.synchronous IS
    'whether a commit waited for a standby when the row was written';

-- migrate:down
DROP TABLE commit_markers;
