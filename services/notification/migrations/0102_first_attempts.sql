-- A mail that was not tried yet goes before those that are tried again: many addresses of which the
-- mail server says nothing would otherwise take all connections, for a time-out each, and every new
-- mail would wait behind them. Found by this index, however many others are due.

-- migrate:up
CREATE INDEX mails_not_tried ON mails (next_attempt_at) WHERE state = 'queued' AND attempts = 0;

-- migrate:down
DROP INDEX mails_not_tried;
