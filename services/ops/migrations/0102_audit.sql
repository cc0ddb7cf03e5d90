-- The audit records of all services, as they were published, for ever. Every partition of an audit
-- topic is one hash chain: each record holds the hash of the one before it, so a record that was
-- altered, taken out or slipped in shows (docs/decisions/0016).

-- migrate:up
CREATE TABLE audit_chains (
    topic     text NOT NULL,
    partition int NOT NULL,
    length    bigint NOT NULL,
    head      bytea NOT NULL,
    PRIMARY KEY (topic, partition)
);

COMMENT ON COLUMN audit_chains.head IS 'the hash of the last record; it shows when records are cut off';

CREATE TABLE audit_records (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    topic       text NOT NULL,
    partition   int NOT NULL,
    position    bigint NOT NULL,
    "offset"    bigint NOT NULL,
    message_id  uuid NOT NULL CONSTRAINT recorded_once UNIQUE,
    type        text NOT NULL,
    subject     text NOT NULL,
    version     int,
    action      text NOT NULL,
    old_status  text,
    new_status  text,
    changed_by  text NOT NULL,
    happened_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    payload     text NOT NULL,
    previous    bytea NOT NULL,
    hash        bytea NOT NULL,
    PRIMARY KEY (topic, partition, position)
);

COMMENT ON COLUMN audit_records.subject IS 'the order, or the product';
COMMENT ON COLUMN audit_records.version IS 'of the order or payment, from 1 without gaps; inventory has none';
COMMENT ON COLUMN audit_records.position IS 'in its chain, from 1';

CREATE INDEX audit_records_by_subject ON audit_records (subject, topic, version);
CREATE UNIQUE INDEX audit_records_tail ON audit_records (id);

-- For people: the records without their payloads.
CREATE VIEW audit_trail AS
SELECT id, topic, partition, position, message_id, type, subject, version, action, old_status,
       new_status, changed_by, happened_at, encode(hash, 'hex') AS hash
  FROM audit_records;

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit records are only ever added'
    USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_is_append_only';
END $$;

CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_records
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

REVOKE UPDATE, DELETE ON audit_records FROM ops_runtime;
REVOKE DELETE ON audit_chains FROM ops_runtime;
REVOKE INSERT, UPDATE, DELETE ON audit_trail FROM ops_runtime;

-- migrate:down
DROP VIEW audit_trail;
DROP TABLE audit_records, audit_chains;
DROP FUNCTION refuse_audit_change();
