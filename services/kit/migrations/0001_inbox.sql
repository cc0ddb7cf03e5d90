-- The inbox remembers which messages had their effect. Kafka delivers at least once; the unique
-- key, written in the transaction of the effect, turns that into exactly one effect.
--
-- Partitioned by the id itself: a UUIDv7 starts with its time, so the key stays unique across
-- partitions, inserts touch the newest pages only, and forgetting is dropping a partition.

-- migrate:up
CREATE TABLE inbox (
    message_id uuid PRIMARY KEY
) PARTITION BY RANGE (message_id);

-- Ids whose time is far off (a sender's clock is wrong) still have a place.
CREATE TABLE inbox_default PARTITION OF inbox DEFAULT;

CREATE FUNCTION uuidv7_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT
RETURN (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- Makes the partitions of the next days and drops those past retention. Any number of replicas
-- may call it at any time; one does the work.
CREATE FUNCTION maintain_inbox(retention interval, ahead_days int DEFAULT 3) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    day timestamptz;
    name text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('maintain_inbox')) THEN
        RETURN;
    END IF;
    FOR offset_days IN -1 .. ahead_days LOOP
        day := date_trunc('day', now(), 'UTC') + make_interval(days => offset_days);
        name := 'inbox_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD');
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE inbox INCLUDING ALL)', name);
        -- A fast clock may have put ids of that day into the default partition already.
        EXECUTE format(
            'WITH moved AS (DELETE FROM inbox_default
                             WHERE message_id >= %L AND message_id < %L RETURNING message_id)
             INSERT INTO %I SELECT message_id FROM moved',
            uuidv7_floor(day), uuidv7_floor(day + interval '1 day'), name);
        EXECUTE format(
            'ALTER TABLE inbox ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            name, uuidv7_floor(day), uuidv7_floor(day + interval '1 day'));
    END LOOP;
    FOR name IN
        SELECT child.relname
          FROM pg_inherits
          JOIN pg_class child ON child.oid = inhrelid
         WHERE inhparent = 'inbox'::regclass
           AND child.relname ~ '^inbox_\d{8}$'
           AND child.relname < 'inbox_' || to_char((now() - retention) AT TIME ZONE 'UTC', 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %I', name);
    END LOOP;
END $$;

SELECT maintain_inbox(interval '14 days');

-- migrate:down
DROP FUNCTION maintain_inbox(interval, int);
DROP TABLE inbox;
DROP FUNCTION uuidv7_floor(timestamptz);
