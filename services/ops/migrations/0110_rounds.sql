-- How an order waits for an answer: rounds that brought none, and when the next try is.

-- migrate:up
ALTER TABLE orders
    ADD COLUMN rounds      int NOT NULL DEFAULT 0,
    ADD COLUMN next_try_at timestamptz,
    ADD COLUMN waited_at   timestamptz;

COMMENT ON COLUMN orders.rounds IS 'of its saga state, as last told; 0 before the first';
COMMENT ON COLUMN orders.next_try_at IS 'told with the first round: before, the order service alone knows';
COMMENT ON COLUMN orders.waited_at IS 'when the two were true';

-- migrate:down
ALTER TABLE orders DROP COLUMN rounds, DROP COLUMN next_try_at, DROP COLUMN waited_at;
