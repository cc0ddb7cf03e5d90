-- What staff write down about an order, for each other: only ever added.

-- migrate:up
CREATE TABLE order_notes (
    id         uuid PRIMARY KEY,
    order_id   uuid NOT NULL,
    text       text NOT NULL CONSTRAINT a_note_of_some_length CHECK (length(text) BETWEEN 1 AND 2000),
    written_by text NOT NULL,
    written_at timestamptz NOT NULL
);

COMMENT ON COLUMN order_notes.id IS 'chosen by who writes: a note that is sent twice is there once';

CREATE INDEX order_notes_of_order ON order_notes (order_id, written_at);

CREATE FUNCTION refuse_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'notes are only ever added'
    USING ERRCODE = 'check_violation', CONSTRAINT = 'notes_are_append_only';
END $$;

CREATE TRIGGER notes_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON order_notes
FOR EACH STATEMENT EXECUTE FUNCTION refuse_note_change();

REVOKE UPDATE, DELETE ON order_notes FROM ops_runtime;

-- migrate:down
DROP TABLE order_notes;
DROP FUNCTION refuse_note_change();
