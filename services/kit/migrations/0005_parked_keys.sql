-- A record key of more than about 2,700 bytes does not fit into a B-tree: such a record could not be
-- parked, and stopped its partition. A hash index holds four bytes of any key. It answers the same
-- question (`key = ANY (...)` of what is open), also when the release before this one asks it.
-- The index by id gives what is open in its order; where that is little, nearly always, it is the
-- quicker one to ask for keys, too (500 keys, nothing open: 6 ms, before 14 ms, on a busy machine).

-- migrate:up
CREATE INDEX parked_messages_open_keys ON parked_messages USING hash (key)
 WHERE state IN ('parked', 'waiting', 'replay');
CREATE INDEX parked_messages_open_ids ON parked_messages (id)
 WHERE state IN ('parked', 'waiting', 'replay');
DROP INDEX parked_messages_open;

-- migrate:down
CREATE INDEX parked_messages_open ON parked_messages (key, id)
 WHERE state IN ('parked', 'waiting', 'replay');
DROP INDEX parked_messages_open_keys;
DROP INDEX parked_messages_open_ids;
