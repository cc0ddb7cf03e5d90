-- One order in a program with one database: placed and reserved in one transaction, paid and
-- confirmed in another. pgbench gives :products, 1 for the one product that everybody wants.
--
-- The product's row is changed last, so that the next customer waits for the commit only. A product
-- without stock returns no row, and \gset then ends the client with an error.
\set product random(1, :products)

BEGIN;
INSERT INTO orders (id, customer_id, saga_state, status, lines, items, total, currency, updated_by,
                    version, expires_at, created_at, updated_at)
SELECT uuidv7(), 'bench', 'requesting_payment', 'pending',
       json_build_array(json_build_object('product_id', id, 'quantity', 1)),
       json_build_array(json_build_object('product_id', id, 'quantity', 1, 'name', name,
                                          'price', price)),
       price, currency, 'bench', 1, now() + interval '30 minutes', now(), now()
  FROM products
 WHERE id = lpad(to_hex(:product::int), 32, '0')::uuid AND available AND removed_at IS NULL
RETURNING id AS order, total AS price, currency \gset
INSERT INTO reservations (order_id, line, product_id, name, quantity, price, state)
SELECT :order::uuid, 0, id, name, 1, price, 'held'
  FROM products
 WHERE id = lpad(to_hex(:product::int), 32, '0')::uuid;
INSERT INTO stock_movements (product_id, order_id, action, quantity, reason, changed_by)
VALUES (lpad(to_hex(:product::int), 32, '0')::uuid, :order::uuid, 'reserved', -1, 'order', 'bench');
UPDATE products
   SET stock_quantity = stock_quantity - 1, movements_total = movements_total - 1,
       version = version + 1, updated_at = now()
 WHERE id = lpad(to_hex(:product::int), 32, '0')::uuid AND stock_quantity >= 1
RETURNING version \gset
COMMIT;

BEGIN;
INSERT INTO payments (order_id, customer_id, amount, currency, payment_intent_id, client_secret,
                      status, intent_status, amount_received, version, created_at, updated_at)
VALUES (:order::uuid, 'bench', :price::bigint, :currency::text, 'pi_' || :order::text, 'secret',
        'succeeded', 'succeeded', :price::bigint, 1, now(), now());
UPDATE orders
   SET saga_state = 'confirmed', status = 'confirmed', payment_status = 'paid',
       payment_intent_id = 'pi_' || :order::text, updated_by = 'payment-service',
       version = version + 1, updated_at = now()
 WHERE id = :order::uuid;
UPDATE reservations SET state = 'committed', updated_at = now() WHERE order_id = :order::uuid;
COMMIT;
