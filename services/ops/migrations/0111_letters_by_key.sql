-- How many of an order's messages are parked, of every order that waits: without reading all that is
-- parked once for each of them.

-- migrate:up
CREATE INDEX letters_open_by_key ON letters (source_key)
 WHERE state IN ('parked', 'waiting', 'replay');

-- migrate:down
DROP INDEX letters_open_by_key;
