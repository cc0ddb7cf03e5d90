"""The list. A mutant that no longer fits the code is made to fit, not removed: test_mutants.py.

Faults are those that the mistake needs to show, and as few as possible; seeds are chosen so that
they strike where it matters. docs/reliability.md has what came of each.
"""

from typing import Final

from tests.faults.mutants.breaking import Edit, Mutant

ANY: Final = ("restart",)
"""For mistakes that show without a fault: the harness wants one."""

PROCESSOR = "services/kit/processor.py"
CONSUMER = "services/kit/consumer.py"
OUTBOX = "services/kit/outbox.py"
SAGA = "services/order/saga.py"
RULES = "services/inventory/rules.py"
STOCK = "services/inventory/store.py"
PRODUCTS = "services/inventory/migrations/0101_products.sql"
RESERVATIONS = "services/inventory/migrations/0102_reservations.sql"
MOVEMENTS = "services/inventory/migrations/0103_stock_movements.sql"

MUTANTS: Final = (
    Mutant(
        "no-inbox",
        "what Kafka delivers again has its effect again",
        "I1",
        25,
        ("crash-point",),
        (Edit(PROCESSOR, "        elif message_id not in known:\n", "        else:\n"),),
    ),
    Mutant(
        "stock-not-checked",
        "the cart was checked, so the reservation does not look at the stock again",
        "I2",
        1,
        ANY * 2,
        (
            Edit(
                RULES,
                "problems = check_cart("
                "request.lines, shelves, shortage=_shortage, currency=request.currency)",
                "problems: list[Problem] = []",
            ),
            Edit(
                PRODUCTS,
                "CONSTRAINT stock_quantity_non_negative CHECK (stock_quantity >= 0)",
                "",
            ),
        ),
    ),
    Mutant(
        "restored-each-time",
        "stock goes back each time that it is asked for",
        "I3",
        130,
        ("asked-again",),
        (
            Edit(
                RULES,
                "if known is None or isinstance(known, Reserved):",
                "if not isinstance(known, Rejected):",
            ),
            Edit(RULES, "known.items if known else ()", 'getattr(known, "items", ())'),
            Edit(STOCK, "CASE WHEN state = 'reserved' THEN", "CASE WHEN state <> 'rejected' THEN"),
            Edit(
                STOCK,
                "= Restored(order_id)\n",
                "= Restored(order_id, _ITEMS.validate_json(items or '[]'))\n",
            ),
            Edit(RESERVATIONS, "NOT IN (('held',", "NOT IN (('restored', 'restored'), ('held',"),
            Edit(RESERVATIONS, "(NOT (old.state = 'reserved'", "(NOT (old.state <> 'rejected'"),
            Edit(MOVEMENTS, "CREATE UNIQUE INDEX one_movement", "CREATE INDEX one_movement"),
        ),
    ),
    Mutant(
        "late-money-stays",
        "money that comes after a cancellation is not sent back",
        "I4",
        1,
        ANY,
        (
            Edit(
                SAGA,
                "(WITHDRAWING,            PaymentSucceeded,     go(RETURNING_MONEY, refund_rest))",
                "(WITHDRAWING,            PaymentSucceeded,     go(RESTORING, restore_stock))",
            ),
            Edit(  # it comes again, as the answer to the cancellation of the payment
                SAGA,
                "((RESTORING, CANCELLED), PaymentSucceeded,     go(RETURNING_MONEY, refund_rest))",
                '((RESTORING, CANCELLED), PaymentSucceeded,     Stay("late"))',
            ),
        ),
    ),
    Mutant(
        "no-key-to-stripe",
        "a call that Stripe may have heard is repeated without its idempotency key",
        "I4",
        393,
        ("stripe-errors",),
        (
            Edit(
                "services/payment/stripe_api.py",
                '{"idempotency_key": key},\n'
                "            )\n"
                "        )\n"
                "        return _intent(made.to_dict())",
                "{},\n            )\n        )\n        return _intent(made.to_dict())",
            ),
        ),
    ),
    Mutant(
        "no-sweeper",
        "nobody publishes what a crash left in the outbox",
        "I5",
        6,
        ("crash-point",),
        (
            Edit(
                "services/kit/service.py",
                'self._tasks.add("sweep_outbox", repeating(sweep, seconds=1))',
                "",
            ),
        ),
    ),
    Mutant(
        "refusal-never-final",
        "a refund that Stripe refuses for good is asked for again without end",
        "I5",
        8,
        ("refunds-refused",),
        (
            Edit(
                "services/payment/refund_rules.py",
                "final=code not in _TEMPORARY)",
                "final=False)",
            ),
        ),
    ),
    Mutant(
        "sweep-as-a-whole",
        "a sweep with one order that cannot be advanced is rolled back as a whole",
        "I5",
        1,
        ("order-edited",),
        (
            Edit(
                "services/kit/isolation.py",
                "        if is_infrastructure(error):\n            raise\n",
                "        raise\n",
            ),
        ),
    ),
    Mutant(
        "remainder-forgotten",
        "what a partition did not take is deleted with the rest of its row",
        "I6",
        5,
        ("topic-refuses",),
        (
            Edit(
                OUTBOX,
                "        await outbox_rows.delete(db, list(tried - {row.id for row in reduced}))\n"
                "        await outbox_rows.reduce(db, reduced)\n",
                "        await outbox_rows.delete(db, list(tried))\n",
            ),
        ),
    ),
    Mutant(
        "held-for-ever",
        "rows that wait for a partition are not tried again when it takes messages",
        "I5",
        1,
        ("topic-refuses",),
        (
            Edit(
                OUTBOX,
                "due = frozenset(self._publisher.due(self._stored))",
                "due = frozenset[TopicPartition]()",
            ),
        ),
    ),
    Mutant(
        "timers-not-audited",
        "what a timer changed, and no message, is not audited",
        "I6",
        1,
        ANY,
        (
            Edit(
                "services/order/handlers.py",
                "work.send(order_audited(before, after, action), cause)",
                "_ = cause and work.send(order_audited(before, after, action), cause)",
            ),
        ),
    ),
    Mutant(
        "no-reconciliation",
        "nobody looks for webhooks that never came",
        "I7",
        1,
        ("webhooks-dropped",),
        (
            Edit(
                "services/payment/app.py",
                'service.background(name="reconcile")(reconciling.run)',
                "",
            ),
        ),
    ),
    Mutant(
        "end-reopens",
        "a payment that is heard of again confirms a cancelled order",
        "I8",
        130,
        ("asked-again", "asked-again"),
        (
            Edit(
                SAGA,
                "((RESTORING, CANCELLED), PaymentSucceeded,     go(RETURNING_MONEY, refund_rest))",
                "((RESTORING, CANCELLED), PaymentSucceeded,     go(CONFIRMED, commit_stock))",
            ),
            Edit(
                "services/order/migrations/0101_orders.sql",
                "('pending', 'cancelled'),",
                "('pending', 'cancelled'), ('cancelled', 'confirmed'),",
            ),
        ),
    ),
    Mutant(
        "key-taken-anew",
        "an idempotency key can be taken anew before it has expired, not after",
        "I9",
        1,
        ANY,
        (
            Edit(
                "services/gateway/store/keys.py",
                "WHERE mine.expires_at <= now()",
                "WHERE mine.expires_at >= now()",
            ),
        ),
    ),
    Mutant(
        "acknowledged-before-commit",
        "Kafka is told that a batch is done before it is",
        "I9",
        5,
        ("crash-before-commit",),
        (
            Edit(
                CONSUMER,
                "            self._offsets.taken(records)\n",
                "            self._offsets.settled(records)\n"
                "            await self._offsets.commit(self._consumer)\n",
            ),
        ),
    ),
    Mutant(
        "owner-not-checked",
        "whoever knows an order's id reads it",
        "I10",
        1,
        ANY,
        (
            Edit(
                "services/gateway/routes/orders.py",
                "stored is None or not (caller.is_admin or "
                "stored.customer_id == caller.customer_id)",
                "stored is None",
            ),
        ),
    ),
)
