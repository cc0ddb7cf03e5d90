-- Why an order cannot be advanced, and edits by SQL that are noticed at once.
--
-- An order whose row does not load, whose change the database refuses, or whose status and saga state
-- contradict each other is set aside by the sweeper: stuck_since, stuck_reason, and a later
-- deadline. An edit by SQL of the status or the saga state makes the order due, so that the sweeper
-- follows it up, or shows the contradiction, within a second and not at the next deadline.

-- migrate:up
ALTER TABLE orders ADD COLUMN stuck_reason text;

COMMENT ON COLUMN orders.stuck_reason IS
    'why the order cannot be advanced, since stuck_since; null when it only waits for an answer';

-- The service counts the version with every change of the two columns; an edit by SQL does not. An
-- AFTER trigger: a BEFORE trigger would fetch every row of every update once more.
CREATE FUNCTION make_edited_order_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE orders SET deadline_at = now() WHERE id = new.id;
    RETURN NULL;
END $$;

CREATE TRIGGER edited_orders_are_due AFTER UPDATE ON orders FOR EACH ROW
WHEN (new.version = old.version
      AND (new.status <> old.status OR new.saga_state <> old.saga_state))
EXECUTE FUNCTION make_edited_order_due();

-- migrate:down
DROP TRIGGER edited_orders_are_due ON orders;
DROP FUNCTION make_edited_order_due();
ALTER TABLE orders DROP COLUMN stuck_reason;
