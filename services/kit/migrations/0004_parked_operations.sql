-- Parked messages are acted upon by commands, too, and every change of one is announced on the
-- service's dead-letter topic, whoever made it: a command, the replayer, the tool, or plain SQL.
-- Changes are counted here, so that nobody can forget to, and announced by the running service.

-- migrate:up
ALTER TABLE parked_messages
    ADD COLUMN version      int NOT NULL DEFAULT 1,
    ADD COLUMN announced    int NOT NULL DEFAULT 1,
    ADD COLUMN operation_id uuid,
    ADD COLUMN asked_by     text,
    ADD COLUMN ask_reason   text;

COMMENT ON COLUMN parked_messages.version IS 'counts changes; parking was number 1';
COMMENT ON COLUMN parked_messages.announced IS 'the version that was told last';
COMMENT ON COLUMN parked_messages.operation_id IS 'the command that asked last';

-- What was closed before this release was never told.
UPDATE parked_messages SET version = 2;

CREATE INDEX parked_messages_untold ON parked_messages (id) WHERE announced < version;

CREATE FUNCTION count_parked_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.version := old.version + 1;
    RETURN new;
END $$;

CREATE TRIGGER count_parked_changes BEFORE UPDATE ON parked_messages FOR EACH ROW
WHEN ((old.state, old.attempts, old.reason) IS DISTINCT FROM (new.state, new.attempts, new.reason))
EXECUTE FUNCTION count_parked_changes();

-- migrate:down
DROP TRIGGER count_parked_changes ON parked_messages;
DROP FUNCTION count_parked_changes();
ALTER TABLE parked_messages
    DROP COLUMN version, DROP COLUMN announced, DROP COLUMN operation_id,
    DROP COLUMN asked_by, DROP COLUMN ask_reason;
