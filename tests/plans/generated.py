"""Databases as they are after a long time: many rows that are done with, a few that are not.

In each table the finished rows are so many that reading all of them shows in a plan.
"""

import os
from typing import Final

ROWS: Final = int(os.environ.get("PLAN_ROWS", "100000"))
"""Finished rows of each table that grows with orders. The proof for a release is made with a
million: `PLAN_ROWS=1000000`."""
OPEN: Final = 200
"""Rows of each kind that are not finished."""

_ID: Final = "('01890000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"

GENERATED: Final[dict[str, tuple[str, ...]]] = {
    "kit": (
        f"""
        INSERT INTO parked_messages (state, message_type, source_topic, source_partition,
               source_offset, key, headers, payload, reason, attempts, version, announced,
               closed_at)
        SELECT CASE WHEN n > {ROWS} THEN 'parked' ELSE 'replayed' END, 'a.b.v1', 'order.events',
               n % 12, n, {_ID}::text, '{{}}', '{{}}',
               CASE WHEN n % 2 = 0 THEN 'unknown saga state' ELSE 'other' END, 1, 2, 2,
               CASE WHEN n <= {ROWS} THEN now() END
          FROM generate_series(1, {ROWS + OPEN}) AS n
        """,
        f"""
        INSERT INTO outbox (id, messages, created_at)
        SELECT gen_random_uuid(), '[]', now() FROM generate_series(1, {OPEN}) AS n
        """,
    ),
    "order": (
        f"""
        INSERT INTO orders (id, customer_id, saga_state, status, lines, updated_by, version,
               expires_at, created_at, updated_at, deadline_at, stuck_since, stuck_reason)
        SELECT {_ID}, 'c', CASE WHEN n > {ROWS} THEN 'reserving' ELSE 'archived' END,
               CASE WHEN n > {ROWS} THEN 'pending' ELSE 'archived' END,
               '[{{"product_id": "01890000-0000-7000-8000-0000000000aa", "quantity": 1}}]', 'c', 1,
               now() + interval '1 h', now(), now(),
               CASE WHEN n > {ROWS} THEN now() - interval '2 min' END,
               CASE WHEN n > {ROWS + OPEN // 2} THEN now() END,
               CASE WHEN n > {ROWS + OPEN // 2} THEN 'x' END
          FROM generate_series(1, {ROWS + OPEN}) AS n
        """,
    ),
    "payment": (
        f"""
        INSERT INTO payments (order_id, customer_id, amount, currency, payment_intent_id, status,
               amount_received, version, created_at, updated_at)
        SELECT {_ID}, 'c', 100, 'zar', 'pi_' || n,
               CASE WHEN n > {ROWS} THEN 'open' ELSE 'succeeded' END,
               CASE WHEN n > {ROWS} THEN 0 ELSE 100 END, 1,
               now() - ({ROWS + OPEN} - n) * interval '10 s', now()
          FROM generate_series(1, {ROWS + OPEN}) AS n
        """,
        f"""
        INSERT INTO refunds (refund_id, order_id, amount, status, attempt, created_at, updated_at)
        SELECT gen_random_uuid(), {_ID}, 1,
               CASE WHEN n > {ROWS - OPEN} THEN 'pending' ELSE 'succeeded' END, 1,
               now() - ({ROWS + OPEN} - n) * interval '10 s', now()
          FROM generate_series(1, {ROWS}) AS n
        """,
        f"""
        INSERT INTO stripe_events (event_id, event_type, created, object_id, outcome, received_at)
        SELECT 'evt_' || n, 'x', now(), 'pi', 'applied',
               now() - ({ROWS} - n) * interval '10 s'
          FROM generate_series(1, {ROWS}) AS n
        """,
        f"""
        INSERT INTO events_sent (event_id, sent_at)
        SELECT 'evt_' || n, now() - ({ROWS} - n) * interval '10 s'
          FROM generate_series(1, {ROWS}) AS n
        """,
        "UPDATE reconciliation SET reached = now() - interval '5 s', turn_at = '-infinity'",
    ),
    "inventory": (
        f"""
        INSERT INTO products (id, name, price, currency, version, published_version, settled,
               updated_at)
        SELECT {_ID}, 'p', 1, 'zar', 2, CASE WHEN n > {ROWS} THEN 1 ELSE 2 END, n <= {ROWS}, now()
          FROM generate_series(1, {ROWS + OPEN}) AS n
        """,
    ),
    "notification": (
        f"""
        INSERT INTO mails (order_id, kind, number, state, facts, news_at, finished_at)
        SELECT {_ID}, 'order_confirmed', 1,
               CASE WHEN n > {ROWS + OPEN} THEN 'parked' WHEN n > {ROWS} THEN 'queued'
                    ELSE 'sent' END,
               '{{}}', now(), CASE WHEN n <= {ROWS} THEN now() END
          FROM generate_series(1, {ROWS + 2 * OPEN}) AS n
        """,
        f"""
        INSERT INTO contacts (order_id, email, given_at)
        SELECT {_ID}, 'a@example.com', now() FROM generate_series(1, {ROWS + 2 * OPEN}) AS n
        """,
        f"""
        INSERT INTO orders (order_id, changed_at)
        SELECT {_ID}, now() FROM generate_series(1, {ROWS + 2 * OPEN}) AS n
        """,
    ),
    "gateway": (
        f"""
        INSERT INTO idempotency_keys (customer_id, key, request_hash, subject_id, expires_at,
               running_until)
        SELECT 'c' || n, 'k', '', {_ID}, now() + interval '1 day', now()
          FROM generate_series(1, {ROWS}) AS n
        """,
        f"""
        INSERT INTO command_answers (command_id, document)
        SELECT {_ID}, '{{}}' FROM generate_series(1, {ROWS}) AS n
        """,
    ),
    "ops": (
        f"""
        INSERT INTO messages (topic, partition, "offset", correlation_id, sent_at, summary)
        SELECT 'order.events', 0, n, 'c', now(), '' FROM generate_series(1, {ROWS}) AS n
        """,
        f"""
        INSERT INTO orders (order_id, version, status, audit_version, saga_state, saga_since,
               stuck_reason)
        SELECT {_ID}, 1, 'archived', 1, CASE WHEN n > {ROWS} THEN 'reserving' ELSE 'archived' END,
               now(), CASE WHEN n > {ROWS + OPEN // 2} THEN 'x' END
          FROM generate_series(1, {ROWS + OPEN}) AS n
        """,
        f"""
        INSERT INTO operations (id, operation, service, parked_id, attempts, correlation_id,
               requested_by, reason, requested_at, outcome)
        SELECT {_ID}, 'replay', 'order', n, 1, 'c', 'o', '', now() - interval '9 days',
               CASE WHEN n <= {ROWS} THEN 'replayed' END
          FROM generate_series(1, {ROWS + OPEN}) AS n
        """,
        f"""
        INSERT INTO stock_adjustments (id, product_id, delta, requested_by, reason, requested_at,
               answered_at)
        SELECT {_ID}, {_ID}, 1, 'o', '', now() - interval '9 days',
               CASE WHEN n <= {ROWS} THEN now() END
          FROM generate_series(1, {ROWS + OPEN}) AS n
        """,
        f"""
        INSERT INTO letters (service, parked_id, version, state, reason, cause, attempts,
               correlation_id, source_topic, source_partition, source_key)
        SELECT 'order', n, 1, CASE WHEN n > {ROWS} THEN 'parked' ELSE 'replayed' END, '', '', 1,
               'c', 'order.events', 0, {_ID}::text
          FROM generate_series(1, {ROWS + OPEN}) AS n
        """,
        f"""
        INSERT INTO audit_records (topic, partition, position, "offset", message_id, type, subject,
               version, action, new_status, changed_by, happened_at, recorded_at, payload, previous,
               hash)
        SELECT CASE WHEN n % 2 = 0 THEN 'audit.order' ELSE 'audit.inventory' END, 0, n, n, {_ID},
               't', {_ID}::text, 1, 'a', 'pending', 'o', now(), now(), '{{}}', '', ''
          FROM generate_series(1, {ROWS}) AS n
        """,
        f"INSERT INTO audit_chains VALUES ('audit.inventory', 0, {ROWS}, '')",
        f"INSERT INTO stock_counted VALUES (0, {ROWS - OPEN})",
    ),
}
"""Statements by service; `kit` is for the tables that every service has."""
