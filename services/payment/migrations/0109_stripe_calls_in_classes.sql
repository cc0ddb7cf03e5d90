-- After an outage of Stripe, and when many orders expire at once, thousands of calls are due. Taken in
-- the order of their time alone, those that customers wait for come behind all others. So each kind
-- of call, and its repeats, is a class of its own, and a claim takes a few of each.
--
-- A release before this one goes on beside it: the class is derived. It loses its index by time alone
-- and sorts the queue instead, which is a few hundred rows as a rule. If that index stayed, the planner
-- would take it for a class too, and read past all calls of the other classes.

-- migrate:up
ALTER TABLE stripe_calls
    ADD COLUMN queue_class text GENERATED ALWAYS AS
        (kind || CASE WHEN attempts > 0 THEN ':retry' ELSE '' END) STORED,
    ADD COLUMN spent_at timestamptz;

COMMENT ON COLUMN stripe_calls.queue_class IS
    'the kind, and whether the call was attempted before: what a fair share is given to';
COMMENT ON COLUMN stripe_calls.spent_at IS
    'when the key turned out to be spent: Stripe''s search knows what was made before only later';

CREATE INDEX stripe_calls_due_by_class ON stripe_calls (queue_class, next_attempt_at);
DROP INDEX stripe_calls_due;

-- migrate:down
CREATE INDEX stripe_calls_due ON stripe_calls (next_attempt_at);
DROP INDEX stripe_calls_due_by_class;
ALTER TABLE stripe_calls DROP COLUMN spent_at, DROP COLUMN queue_class;
