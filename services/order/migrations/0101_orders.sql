-- Orders, their lines, and who changed their status when and why.
--
-- `status` is what people see, `saga_state` is where the saga is; only services/order/saga.py moves
-- them. The database holds the same list of status changes as the contracts, so that nothing else
-- can move an order to where it must not be.

-- migrate:up
CREATE TABLE orders (
    id                uuid PRIMARY KEY,
    customer_id       text NOT NULL,
    saga_state        text NOT NULL,
    status            text NOT NULL CONSTRAINT valid_order_status CHECK (status IN (
                      'pending', 'confirmed', 'processing', 'shipped', 'delivered',
                      'cancelled', 'refunded', 'archived')),
    payment_status    text NOT NULL DEFAULT 'unpaid' CONSTRAINT valid_payment_status CHECK (
                      payment_status IN ('unpaid', 'paid', 'failed', 'partially_refunded',
                                         'refunded')),
    lines             json NOT NULL,
    items             json NOT NULL DEFAULT '[]',
    wanted_currency   text,
    total             bigint CONSTRAINT total_non_negative CHECK (total >= 0),
    currency          text,
    payment_intent_id text,
    client_secret     text,
    intent_status     text,
    amount_refunded   bigint NOT NULL DEFAULT 0
                      CONSTRAINT never_refunds_more_than_total
                      CHECK (amount_refunded BETWEEN 0 AND coalesce(total, amount_refunded)),
    payment_version   int NOT NULL DEFAULT 0,
    problems          json NOT NULL DEFAULT '[]',
    admin_notes       text,
    updated_by        text NOT NULL,
    reason            text,
    version           int NOT NULL,
    expires_at        timestamptz NOT NULL,
    deadline_at       timestamptz,
    rounds            int NOT NULL DEFAULT 0,
    stuck_since       timestamptz,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL
) WITH (
    -- An order is updated a handful of times within seconds: leave room on its page, so that these
    -- updates touch no index.
    fillfactor = 70
);

COMMENT ON COLUMN orders.deadline_at IS 'when the answer to the last command is overdue, or the reservation ends';
COMMENT ON COLUMN orders.rounds IS 'how often the last command was sent again';
COMMENT ON COLUMN orders.stuck_since IS 'set when too many rounds brought no answer; cleared by the next step';

-- The sweeper asks for what is due; most orders wait for nothing.
CREATE INDEX orders_due ON orders (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX orders_stuck ON orders (stuck_since) WHERE stuck_since IS NOT NULL;

COMMENT ON COLUMN orders.lines IS 'what the customer asked for, with the price that the cart showed';
COMMENT ON COLUMN orders.items IS 'what was reserved, with the product''s name and price; empty before';

-- Lines and items live in the order's row: they are written with it, read with it, and never change
-- on their own. For people and reports they are rows.
CREATE VIEW order_items AS
SELECT orders.id AS order_id, line.product_id, line.quantity, line.price AS cart_price,
       item.name, item.price
  FROM orders
 CROSS JOIN json_to_recordset(lines) AS line (product_id uuid, quantity int, price bigint)
  LEFT JOIN LATERAL json_to_recordset(items) AS item (product_id uuid, name text, price bigint)
         ON item.product_id = line.product_id;

CREATE TABLE order_status_history (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id   uuid NOT NULL,
    old_status text,
    new_status text NOT NULL,
    changed_by text NOT NULL,
    reason     text,
    created_at timestamptz NOT NULL
);

CREATE INDEX order_status_history_by_order ON order_status_history (order_id, id);

-- Cancellations that arrived before their order: the order is cancelled as it is placed.
CREATE TABLE early_cancellations (
    order_id     uuid PRIMARY KEY,
    requested_by text NOT NULL,
    by_staff     boolean NOT NULL,
    reason       text NOT NULL,
    admin_notes  text,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- The history of new orders, once per statement.
CREATE FUNCTION log_new_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO order_status_history (order_id, old_status, new_status, changed_by, reason, created_at)
    SELECT id, NULL, status, updated_by, reason, updated_at FROM new_rows;
    RETURN NULL;
END $$;

CREATE TRIGGER log_new_orders AFTER INSERT ON orders
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION log_new_orders();

-- The history of changes, row by row: comparing old and new rows of a whole statement is a join of
-- which the planner knows nothing, and most updates do not change the status at all.
CREATE FUNCTION log_status_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.version = old.version THEN  -- by hand, past the service: it is the database role's
        INSERT INTO order_status_history
               (order_id, old_status, new_status, changed_by, reason, created_at)
        VALUES (new.id, old.status, new.status, 'database:' || session_user, NULL, now());
    ELSE
        INSERT INTO order_status_history
               (order_id, old_status, new_status, changed_by, reason, created_at)
        VALUES (new.id, old.status, new.status, new.updated_by, new.reason, new.updated_at);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER log_status_change AFTER UPDATE ON orders FOR EACH ROW
WHEN (old.status <> new.status)
EXECUTE FUNCTION log_status_change();

CREATE FUNCTION refuse_status_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'order % cannot go from % to %', old.id, old.status, new.status
    USING ERRCODE = 'check_violation', CONSTRAINT = 'valid_order_status_transition';
END $$;

CREATE TRIGGER valid_order_status_transition AFTER UPDATE ON orders FOR EACH ROW
WHEN (old.status <> new.status AND (old.status, new.status) NOT IN (
      ('pending', 'confirmed'), ('pending', 'cancelled'),
      ('confirmed', 'processing'), ('confirmed', 'cancelled'), ('confirmed', 'refunded'),
      ('processing', 'shipped'), ('processing', 'cancelled'), ('processing', 'refunded'),
      ('shipped', 'delivered'), ('shipped', 'refunded'),
      ('delivered', 'archived'), ('delivered', 'refunded'),
      ('cancelled', 'archived'), ('refunded', 'archived')))
EXECUTE FUNCTION refuse_status_change();

-- migrate:down
DROP VIEW order_items;
DROP TABLE early_cancellations, order_status_history, orders;
DROP FUNCTION refuse_status_change();
DROP FUNCTION log_status_change();
DROP FUNCTION log_new_orders();
