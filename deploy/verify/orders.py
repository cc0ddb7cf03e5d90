"""I5, I6 and I8 to I10: orders. They end, stay so, and are told as they are, to their customer."""

from itertools import pairwise

from contracts.order import STATUS_TRANSITIONS, OrderStatus
from deploy.verify.evidence import UNDONE, Breaches, Evidence, states
from deploy.verify.told import Told


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
        needed = {"reserved", "restored"} if states(rows) == ["restored"] else {"reserved"}
        if not needed <= actions:
            yield f"stock of order {order_id}: is {states(rows)}, audited {sorted(actions)}"


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
