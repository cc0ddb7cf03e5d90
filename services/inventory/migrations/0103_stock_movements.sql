-- The ledger of stock: what moved, how many, why, for which order and who said so. Append-only;
-- a product's opening stock plus its movements is its stock, always, also for those who change the
-- stock with plain SQL: their movement is written for them.

-- migrate:up
CREATE TABLE stock_movements (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id uuid NOT NULL,
    order_id   uuid,
    action     text NOT NULL CONSTRAINT valid_movement_action
               CHECK (action IN ('reserved', 'restored', 'adjusted', 'corrected')),
    quantity   bigint NOT NULL CONSTRAINT movement_moves CHECK (quantity <> 0),
    reason     text NOT NULL,
    changed_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reserved_leaves_the_shelf CHECK (action <> 'reserved' OR quantity < 0),
    CONSTRAINT restored_comes_back CHECK (action <> 'restored' OR quantity > 0)
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0.05  -- never updated: vacuum only freezes
);

COMMENT ON COLUMN stock_movements.quantity IS 'change of the stock: negative leaves the shelf';
COMMENT ON COLUMN stock_movements.action IS
    'adjusted: by staff through the service. corrected: by plain SQL in the database.';

CREATE INDEX stock_movements_by_product ON stock_movements (product_id, id);
-- By order, and a promise: stock leaves once and comes back once per order and product.
CREATE UNIQUE INDEX one_movement_per_order_and_way
    ON stock_movements (order_id, product_id, action) WHERE order_id IS NOT NULL;

CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stock_movements is append-only: % is not possible', TG_OP
        USING HINT = 'reserve_product_stock and restore_product_stock add the opposite movement';
END $$;

CREATE TRIGGER stock_movements_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_movements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();

-- A change by plain SQL has neither a number nor a movement: it gets both.
CREATE FUNCTION book_change_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moved bigint := new.stock_quantity - old.stock_quantity;
BEGIN
    IF new.version = old.version THEN
        new.version := old.version + 1;
        new.updated_at := now();
    END IF;
    IF moved <> new.movements_total - old.movements_total THEN
        new.movements_total := old.movements_total + moved;
        new.sold_out := new.sold_out AND new.stock_quantity = 0;
        IF moved <> 0 THEN
            INSERT INTO stock_movements (product_id, action, quantity, reason, changed_by)
            VALUES (new.id, 'corrected', moved, 'changed in the database', session_user);
        END IF;
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER changes_by_hand_are_booked BEFORE UPDATE ON products FOR EACH ROW
WHEN (new.stock_quantity - old.stock_quantity <> new.movements_total - old.movements_total
      OR new.version = old.version
         AND (new.name, new.price, new.currency, new.available, new.stock_quantity,
              new.low_stock_threshold, new.removed_at)
             IS DISTINCT FROM
             (old.name, old.price, old.currency, old.available, old.stock_quantity,
              old.low_stock_threshold, old.removed_at))
EXECUTE FUNCTION book_change_by_hand();

-- migrate:down
DROP TRIGGER changes_by_hand_are_booked ON products;
DROP FUNCTION book_change_by_hand();
DROP TABLE stock_movements;
DROP FUNCTION refuse_ledger_change();
