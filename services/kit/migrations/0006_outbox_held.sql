-- A row of the outbox may be published in part: one partition takes nothing, the others do. The row
-- is then reduced to what is left, and says which partitions that waits for. Later messages of these
-- partitions wait behind it, so that a key keeps its order.
--
-- The release before this one takes such a row for any other and publishes what is left of it.

-- migrate:up
ALTER TABLE outbox
    ADD COLUMN held_for text[],
    ADD COLUMN reason   text;

COMMENT ON COLUMN outbox.held_for IS
    'topic/partition of the messages that are left; NULL while nobody has tried, or all failed; '
    'empty if the row cannot be read';
COMMENT ON COLUMN outbox.reason IS 'why they were not taken, the last time';

-- Normally empty: it costs the rows that are published at once nothing.
CREATE INDEX outbox_held ON outbox (id) WHERE held_for IS NOT NULL;

-- migrate:down
DROP INDEX outbox_held;
ALTER TABLE outbox DROP COLUMN held_for, DROP COLUMN reason;
