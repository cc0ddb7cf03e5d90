"""The SQL of the peers that are written in Python: frameworks are compared, not statements.

The tables are those of the services' own migrations. Values are bound by name, as SQLAlchemy does.
Statements that find their work done already change nothing, so a repeated message is harmless.
"""

PLACE_ORDER = """
INSERT INTO orders (id, customer_id, saga_state, status, lines, updated_by, version, expires_at,
                    created_at, updated_at)
VALUES (:order_id, 'bench', 'reserving', 'pending', CAST(:lines AS json), 'bench', 1,
        now() + interval '30 minutes', now(), now())
ON CONFLICT (id) DO NOTHING
"""

TAKE_STOCK = """
UPDATE products
   SET stock_quantity = stock_quantity - 1, movements_total = movements_total - 1,
       version = version + 1, updated_at = now()
 WHERE id = :product_id AND available AND removed_at IS NULL AND stock_quantity >= 1
RETURNING name, price, currency
"""

HOLD = """
INSERT INTO reservations (order_id, line, product_id, name, quantity, price, state)
VALUES (:order_id, 0, :product_id, :name, 1, :price, 'held')
ON CONFLICT (order_id, product_id) DO NOTHING
"""

BOOK_MOVEMENT = """
INSERT INTO stock_movements (product_id, order_id, action, quantity, reason, changed_by)
VALUES (:product_id, :order_id, 'reserved', -1, 'order', 'bench')
"""

ORDER_RESERVED = """
UPDATE orders
   SET saga_state = 'requesting_payment', total = :price, currency = :currency,
       items = CAST(:items AS json), version = version + 1, updated_at = now()
 WHERE id = :order_id AND saga_state = 'reserving'
"""

PAY = """
INSERT INTO payments (order_id, customer_id, amount, currency, payment_intent_id, client_secret,
                      status, intent_status, amount_received, version, created_at, updated_at)
VALUES (:order_id, 'bench', :price, :currency, :intent, :intent || '_secret',
        'succeeded', 'succeeded', :price, 1, now(), now())
ON CONFLICT (order_id) DO NOTHING
"""

CONFIRM_ORDER = """
UPDATE orders
   SET saga_state = 'confirmed', status = 'confirmed', payment_status = 'paid',
       payment_intent_id = :intent, updated_by = 'payment-service', version = version + 1,
       updated_at = now()
 WHERE id = :order_id AND saga_state = 'requesting_payment'
"""

COMMIT_STOCK = """
UPDATE reservations SET state = 'committed', updated_at = now()
 WHERE order_id = :order_id AND state = 'held'
"""
