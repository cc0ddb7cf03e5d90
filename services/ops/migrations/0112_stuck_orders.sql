-- Why an order cannot be advanced, as the order service announced it: shown first among the orders
-- that wait, whatever their saga state.

-- migrate:up
ALTER TABLE orders ADD COLUMN stuck_reason text;

COMMENT ON COLUMN orders.stuck_reason IS
    'as last announced; null when the order can be advanced, also while it waits for an answer';

CREATE INDEX orders_stuck ON orders (saga_since, order_id) WHERE stuck_reason IS NOT NULL;

-- migrate:down
ALTER TABLE orders DROP COLUMN stuck_reason;
