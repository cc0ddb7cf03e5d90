-- For people and scripts: take stock out or put it back, with the row lock, the check, the change
-- and the movement in one call. The services reserve in batches instead (services/inventory).

-- migrate:up

-- Lock the product of a call, or say what is wrong with the call.
CREATE FUNCTION lock_product_stock(product_id uuid, quantity bigint) RETURNS products
LANGUAGE plpgsql AS $$
DECLARE
    product products;
BEGIN
    IF quantity IS NULL OR quantity <= 0 THEN
        RAISE EXCEPTION 'quantity must be a positive number, not %', coalesce(quantity::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'reserve_product_stock takes stock out, restore_product_stock puts it back';
    END IF;
    SELECT * INTO product FROM products WHERE id = lock_product_stock.product_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no product %', coalesce(product_id::text, 'NULL')
            USING ERRCODE = 'no_data_found', HINT = 'SELECT id, name FROM products lists them';
    END IF;
    RETURN product;
END $$;

-- Move the stock of a product that is locked.
CREATE FUNCTION move_product_stock(product products, delta bigint, action text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    stock bigint;
BEGIN
    INSERT INTO stock_movements (product_id, action, quantity, reason, changed_by)
    VALUES (product.id, action, delta, 'by SQL function', session_user);
    UPDATE products
       SET stock_quantity = stock_quantity + delta,
           movements_total = movements_total + delta,
           sold_out = stock_quantity + delta = 0,
           version = version + 1,
           updated_at = now()
     WHERE id = product.id
    RETURNING stock_quantity INTO stock;
    RETURN jsonb_build_object(
        'success', true, 'product_id', product.id, 'name', product.name,
        'quantity', abs(delta), 'stock_quantity', stock);
END $$;

CREATE FUNCTION reserve_product_stock(product_id uuid, quantity bigint) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    product products := lock_product_stock(product_id, quantity);
    problem text;
BEGIN
    problem := CASE
        WHEN product.removed_at IS NOT NULL THEN 'Product no longer available'
        WHEN NOT product.available THEN format('%s is no longer available', product.name)
        WHEN quantity > product.stock_quantity THEN
            format('Insufficient stock for %s. Available: %s, Requested: %s',
                   product.name, product.stock_quantity, quantity)
    END;
    IF problem IS NOT NULL THEN
        RETURN jsonb_build_object(
            'success', false, 'error', problem, 'product_id', product.id,
            'requested', quantity, 'stock_quantity', product.stock_quantity);
    END IF;
    RETURN move_product_stock(product, -quantity, 'reserved');
END $$;

CREATE FUNCTION restore_product_stock(product_id uuid, quantity bigint) RETURNS jsonb
LANGUAGE sql
RETURN move_product_stock(lock_product_stock(product_id, quantity), quantity, 'restored');

COMMENT ON FUNCTION reserve_product_stock(uuid, bigint) IS
    'take stock out: {success, product_id, name, quantity, stock_quantity}, or success false with '
    'error when there is not enough; raises for an unknown product or a non-positive quantity';
COMMENT ON FUNCTION restore_product_stock(uuid, bigint) IS
    'put stock back: {success, product_id, name, quantity, stock_quantity}; raises for an unknown '
    'product or a non-positive quantity';

-- migrate:down
DROP FUNCTION restore_product_stock(uuid, bigint);
DROP FUNCTION reserve_product_stock(uuid, bigint);
DROP FUNCTION move_product_stock(products, bigint, text);
DROP FUNCTION lock_product_stock(uuid, bigint);
