-- A record key of more than about 2,700 bytes does not fit into a B-tree: such a record could not be
-- parked, and stopped its partition. A hash index holds four bytes of any key. It answers the same
-- question (`key = ANY (...)` of what is open), also when the release before this one asks it.

-- migrate:up
CREATE INDEX parked_messages_open_keys ON parked_messages USING hash (key)
 WHERE state IN ('parked', 'waiting', 'replay');
DROP INDEX parked_messages_open;

-- migrate:down
CREATE INDEX parked_messages_open ON parked_messages (key, id)
 WHERE state IN ('parked', 'waiting', 'replay');
DROP INDEX parked_messages_open_keys;
