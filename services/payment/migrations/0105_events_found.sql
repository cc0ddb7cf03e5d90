-- A webhook may never come. What is missing is found in Stripe's own list of events, and sent the
-- way that its webhook would have gone.

-- migrate:up
ALTER TABLE stripe_events ADD COLUMN found boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN stripe_events.found IS 'in Stripe''s list: its webhook had not come';

-- Not in stripe_events: whatever a replica of the version before finds there, it takes for decided.
CREATE TABLE events_sent (
    event_id text PRIMARY KEY,
    sent_at  timestamptz NOT NULL
);

COMMENT ON TABLE events_sent IS 'found in Stripe''s list, and on their way through Kafka';

CREATE INDEX events_sent_by_age ON events_sent USING brin (sent_at);

-- migrate:down
DROP TABLE events_sent;
ALTER TABLE stripe_events DROP COLUMN found;
