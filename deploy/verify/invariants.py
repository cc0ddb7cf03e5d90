"""I1 to I10: what must hold of a system that has come to rest, whatever was done to it.

Each is a function of the evidence: it yields a sentence for every breach, and says how much it
looked at. The numbers are those of docs/reliability.md.
"""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from contracts.order import STATUS_TRANSITIONS, OrderStatus
from deploy.verify.evidence import Evidence, Row
from deploy.verify.told import Told

PAID = ("confirmed", "processing", "shipped", "delivered")
UNDONE = ("cancelled", "refunded")
SENT_BACK = "Refund failed"
"""How the notes of an order begin whose refund the customer's bank did not take."""

Breaches = Iterator[str]
Check = Callable[[Evidence, Told], Breaches]


class Invariant(NamedTuple):
    number: str
    promise: str
    looked_at: Callable[[Evidence, Told], str]
    """How much there was to look at: a check of nothing shows nothing."""
    check: Check


class Finding(NamedTuple):
    invariant: Invariant
    looked_at: str
    breaches: list[str]


def check_all(evidence: Evidence, told: Told) -> list[Finding]:
    """All invariants, in their order."""
    return [
        Finding(each, each.looked_at(evidence, told), list(each.check(evidence, told)))
        for each in INVARIANTS
    ]


def stock_adds_up(evidence: Evidence, told: Told) -> Breaches:
    for name, row in evidence.products.items():
        put = any(record.action == "product_put" for record in evidence.stock_audit.get(name, []))
        if put and row["opening_stock"]:
            opening = row["opening_stock"]
            yield f"product {name}: was put with no stock, and {opening} came without a movement"
        supply = row["opening_stock"] + row["by_people"]
        accounted = row["stock_quantity"] + row["held"] + row["sold"]
        if accounted != supply:
            yield f"product {name}: stock, held and sold are {accounted}, supply was {supply}"
        if (put_there := told.supply.get(name, supply)) != supply:
            yield f"product {name}: staff put {put_there} there, the books have {supply}"
        if (
            not row["moved"]
            == row["movements_total"]
            == row["stock_quantity"] - row["opening_stock"]
        ):
            yield f"product {name}: the ledger of movements says {row['moved']}: {dict(row)}"


def nothing_oversold(evidence: Evidence, _told: Told) -> Breaches:
    for name, row in evidence.products.items():
        if row["lowest"] < 0:
            yield f"product {name}: stock was once {row['lowest']}, it is {row['stock_quantity']}"
        if row["held"] + row["sold"] > row["opening_stock"] + row["by_people"]:
            yield f"product {name}: sold above supply: {dict(row)}"


def reserved_and_restored_once(evidence: Evidence, _told: Told) -> Breaches:
    for (order_id, product), moves in evidence.movements.items():
        actions = [move["action"] for move in moves]
        if actions not in (["reserved"], ["reserved", "restored"]):
            yield f"order {order_id}, product {product}: moved {actions}"
        elif len(moves) == 2 and moves[0]["quantity"] + moves[1]["quantity"]:
            amounts = [move["quantity"] for move in moves]
            yield f"order {order_id}, product {product}: took and gave {amounts}"
    for order_id, rows in evidence.reservations.items():
        order = evidence.orders.get(order_id)
        if order is None:
            yield f"order {order_id}: has stock, but does not exist"
        elif order["status"] == "cancelled" and any(row["state"] != "restored" for row in rows):
            yield f"order {order_id}: cancelled, but its stock is {_states(rows)}"
    for order_id, order in evidence.orders.items():
        rows = evidence.reservations.get(order_id, [])
        if order["status"] in PAID:
            has = {
                row["product_id"]: row["quantity"] for row in rows if row["state"] == "committed"
            }
            if has != json.loads(order["wanted"]):
                yield f"order {order_id}: {order['status']}, wanted {order['wanted']}, has {has}"


def money_and_orders_agree(evidence: Evidence, _told: Told) -> Breaches:
    for order_id, order in evidence.orders.items():
        intents = evidence.intents.get(order_id, [])
        if len(intents) > 1:
            yield f"order {order_id}: {len(intents)} intents at Stripe"
        charges = sum(intent["successful_charges"] for intent in intents)
        if charges > 1:
            yield f"order {order_id}: charged {charges} times"
        kept = sum(intent["amount_received"] - intent["amount_refunded"] for intent in intents)
        due = 0
        if order["status"] in PAID:
            due = order["total"] - order["amount_refunded"]
        elif order["status"] in UNDONE and (order["admin_notes"] or "").startswith(SENT_BACK):
            continue  # the bank did not take the money back, and staff know
        elif order["status"] == "archived":
            due = kept if kept == 0 else order["total"] - order["amount_refunded"]
        if kept != due:
            yield f"order {order_id}: {order['status']}, so {due} should be kept, but {kept} is"
    for order_id in evidence.intents.keys() - evidence.orders.keys():
        yield f"order {order_id}: has an intent at Stripe, but does not exist"


def nothing_waits(evidence: Evidence, _told: Told) -> Breaches:
    for waiting in evidence.waiting:
        yield f"{waiting.what}: {waiting.number}"


def audit_is_complete(evidence: Evidence, _told: Told) -> Breaches:
    for order_id, order in evidence.orders.items():
        trail = {record.version: record for record in evidence.order_audit.get(order_id, [])}
        if sorted(trail) != list(range(1, order["version"] + 1)):
            yield f"order {order_id}: at version {order['version']}, audited {sorted(trail)}"
            continue
        last = trail[order["version"]]
        told = (last.new_status, last.payment_status, last.saga_state, last.total)
        is_now = tuple(order[n] for n in ("status", "payment_status", "saga_state", "total"))
        if told != is_now:
            yield f"order {order_id}: is {is_now}, audited {told}"
    for order_id, payment in evidence.payments.items():
        paid = {record.version: record for record in evidence.payment_audit.get(order_id, [])}
        if sorted(paid) != list(range(1, payment["version"] + 1)):
            yield f"payment {order_id}: at version {payment['version']}, audited {sorted(paid)}"
            continue
        latest = paid[payment["version"]]
        said = (latest.new_status, latest.amount_received, latest.amount_refunded)
        if said != tuple(payment[n] for n in ("status", "amount_received", "amount_refunded")):
            yield f"payment {order_id}: is {dict(payment)}, audited {said}"
    for order_id, rows in evidence.reservations.items():
        actions = {record.action for record in evidence.stock_audit.get(order_id, [])}
        needed = {"reserved", "restored"} if _states(rows) == ["restored"] else {"reserved"}
        if not needed <= actions:
            yield f"stock of order {order_id}: is {_states(rows)}, audited {sorted(actions)}"


def webhooks_are_applied(evidence: Evidence, _told: Told) -> Breaches:
    for event_id, kind in evidence.stripe_events.items():
        outcome = evidence.decided_events.get(event_id)
        if outcome is None:
            yield f"{event_id} ({kind}): Stripe sent it, the payment service never heard of it"
    for event_id in evidence.answered_webhooks - evidence.kept_webhooks:
        yield f"{event_id}: its webhook was answered 200, but is not on the topic"
    for order_id, payment in evidence.payments.items():
        for intent in evidence.intents.get(order_id, []):
            at_stripe = (intent["amount_received"], intent["amount_refunded"])
            if (payment["amount_received"], payment["amount_refunded"]) != at_stripe:
                known = dict(payment)
                yield f"payment {order_id}: received and refunded at Stripe {at_stripe}: {known}"


def ends_stay_ends(evidence: Evidence, _told: Told) -> Breaches:
    for order_id, changes in evidence.history.items():
        statuses = [OrderStatus(change["new_status"]) for change in changes]
        for before, after in pairwise(statuses):
            if after not in STATUS_TRANSITIONS[before]:
                yield f"order {order_id}: went from {before} to {after}"
        order = evidence.orders.get(order_id)
        if order is not None and statuses[-1] != order["status"]:
            yield f"order {order_id}: is {order['status']}, its history ends with {statuses[-1]}"
    for order_id, order in evidence.orders.items():
        for intent in evidence.intents.get(order_id, []):
            over = intent["status"] in ("canceled", "succeeded")
            if order["status"] in UNDONE and not over:
                yield f"order {order_id}: {order['status']}, can still be paid: {intent['status']}"


def what_was_acknowledged_exists(evidence: Evidence, told: Told) -> Breaches:
    answers: dict[tuple[str, str], set[str]] = {}
    for answer in told.acknowledged:
        if answer.order_id not in evidence.orders:
            yield f"order {answer.order_id}: acknowledged to {answer.customer}, does not exist"
        answers.setdefault((answer.customer, answer.key), set()).add(answer.order_id)
    for (customer, key), orders in answers.items():
        if len(orders) > 1:
            yield f"{customer} was told of {sorted(orders)} under the one key {key}"
    for (customer, key), row in evidence.keys.items():
        subject = row["subject_id"]
        if row["status_code"] in (201, 202) and subject not in evidence.orders:
            yield f"order {subject}: acknowledged to {customer} under {key}, does not exist"
    for order_id, order in evidence.orders.items():
        view = evidence.views.get(order_id)
        if view is None or view["version"] != order["version"]:
            shown = view["version"] if view else "nothing"
            yield f"order {order_id}: at version {order['version']}, customers see {shown}"
    for order_id in evidence.views.keys() - evidence.orders.keys():
        yield f"order {order_id}: customers see it, but it does not exist"


def orders_are_private(evidence: Evidence, told: Told) -> Breaches:
    yield from told.leaks
    for order_id, view in evidence.views.items():
        order = evidence.orders.get(order_id)
        if order is not None and order["customer_id"] != view["customer_id"]:
            yield f"order {order_id}: {order['customer_id']}'s, shown to {view['customer_id']}"
    for (customer, key), row in evidence.keys.items():
        order = evidence.orders.get(row["subject_id"])
        # 201 is the answer to placing an order; others may be staff's, about a customer's order.
        shown = row["status_code"] == 201
        if shown and order is not None and order["customer_id"] != customer:
            yield f"key {key} of {customer} answers with an order of {order['customer_id']}"


def _states(rows: list[Row]) -> list[str]:
    return sorted({row["state"] for row in rows})


INVARIANTS = (
    Invariant(
        "I1",
        "stock, held and sold are what was supplied",
        lambda e, _: f"{len(e.products)} products, {len(e.movements)} movements of orders",
        stock_adds_up,
    ),
    Invariant(
        "I2",
        "nothing is sold that is not there",
        lambda e, _: f"{len(e.products)} products",
        nothing_oversold,
    ),
    Invariant(
        "I3",
        "stock is reserved once and restored at most once",
        lambda e, _: f"{len(e.reservations)} orders with stock",
        reserved_and_restored_once,
    ),
    Invariant(
        "I4",
        "money is kept for paid orders, once and to the cent",
        lambda e, _: f"{len(e.orders)} orders, {len(e.intents)} intents",
        money_and_orders_agree,
    ),
    Invariant(
        "I5",
        "nothing waits, no lag, no lease is held",
        lambda e, _: f"{len(e.orders)} orders",
        nothing_waits,
    ),
    Invariant(
        "I6",
        "the audit trail has no gap and ends with what is",
        lambda e, _: (
            f"{sum(map(len, e.order_audit.values()))} records of orders, "
            f"{sum(map(len, e.payment_audit.values()))} of payments"
        ),
        audit_is_complete,
    ),
    Invariant(
        "I7",
        "what Stripe said is known and applied",
        lambda e, _: f"{len(e.stripe_events)} events, {len(e.answered_webhooks)} webhooks",
        webhooks_are_applied,
    ),
    Invariant(
        "I8",
        "an end never reopens",
        lambda e, _: f"{sum(map(len, e.history.values()))} changes of status",
        ends_stay_ends,
    ),
    Invariant(
        "I9",
        "what was acknowledged exists, one order per key",
        lambda e, t: f"{len(e.keys)} keys, {len(t.acknowledged)} answers that customers noted",
        what_was_acknowledged_exists,
    ),
    Invariant(
        "I10",
        "nobody reads somebody else's order",
        lambda e, t: f"{len(e.views)} views, {t.refused_reads} attempts",
        orders_are_private,
    ),
)
