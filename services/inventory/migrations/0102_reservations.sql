-- What became of each order's reservation, for ever: a command that is asked again gets the same
-- answer, and a reservation that arrives after its undo is refused.
--
-- No foreign keys: every row is written under the lock of what it refers to, and nothing is ever
-- deleted; a look-up per row would be a good part of a batch's time.

-- migrate:up
CREATE TABLE reservation_orders (
    order_id   uuid PRIMARY KEY,
    state      text NOT NULL CONSTRAINT valid_reservation_order_state
               CHECK (state IN ('reserved', 'rejected', 'restored')),
    currency   text,
    problems   json,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reserved_in_a_currency CHECK (state <> 'reserved' OR currency IS NOT NULL),
    CONSTRAINT rejected_with_problems CHECK ((state = 'rejected') = (problems IS NOT NULL))
) WITH (fillfactor = 90);

COMMENT ON COLUMN reservation_orders.state IS
    'restored without reservations is a tombstone: the undo came before its do';

-- One row per order and product. Stock comes back by moving the row, so it comes back once.
CREATE TABLE reservations (
    order_id   uuid NOT NULL,
    line       smallint NOT NULL,
    product_id uuid NOT NULL,
    name       text NOT NULL,
    quantity   bigint NOT NULL CONSTRAINT quantity_positive CHECK (quantity > 0),
    price      bigint NOT NULL,
    state      text NOT NULL CONSTRAINT valid_reservation_state
               CHECK (state IN ('held', 'committed', 'restored')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, product_id)
) WITH (fillfactor = 80);  -- each row is updated once or twice, soon: leave room on its page

-- Held and sold by product, for reports.
CREATE INDEX reservations_by_product ON reservations (product_id);

CREATE FUNCTION refuse_reservation_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the reservation of order % cannot go from % to %',
          old.order_id, old.state, new.state
    USING ERRCODE = 'check_violation', CONSTRAINT = 'valid_reservation_transition',
          HINT = 'held becomes committed or restored, committed becomes restored, once each';
END $$;

-- The conditions cost next to nothing; the function runs only to refuse.
CREATE TRIGGER reservations_move_forward BEFORE UPDATE ON reservations FOR EACH ROW
WHEN ((old.state, new.state) NOT IN (('held', 'committed'), ('held', 'restored'),
                                     ('committed', 'restored'))
      OR (new.order_id, new.product_id, new.quantity, new.price)
         <> (old.order_id, old.product_id, old.quantity, old.price))
EXECUTE FUNCTION refuse_reservation_change();

CREATE TRIGGER reservation_orders_move_forward BEFORE UPDATE ON reservation_orders FOR EACH ROW
WHEN (NOT (old.state = 'reserved' AND new.state = 'restored') OR new.order_id <> old.order_id)
EXECUTE FUNCTION refuse_reservation_change();

CREATE TRIGGER reservations_stay BEFORE DELETE ON reservations
FOR EACH ROW EXECUTE FUNCTION refuse_delete();

CREATE TRIGGER reservation_orders_stay BEFORE DELETE ON reservation_orders
FOR EACH ROW EXECUTE FUNCTION refuse_delete();

-- migrate:down
DROP TABLE reservations, reservation_orders;
DROP FUNCTION refuse_reservation_change();
