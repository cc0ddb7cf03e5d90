"""A person wants the next try of an order now: its deadline becomes now, the sweeper does the rest.

What is sent again, how the rounds count and what the next wait is stay in one place. Nothing of the
order changes: the name of who cancelled or refunded it stays on what follows. An order that cannot
be advanced is tried again, too, whatever its state.
"""

from contracts.audit import OrderWaits
from contracts.order import CommandRefused, OrderStatus, RetryOrder
from services.kit.messages import Incoming
from services.kit.work import Work
from services.order import store
from services.order.deadlines import WAITS_FOR_ANSWER
from services.order.order import State


async def retry_now(work: Work, messages: list[Incoming[RetryOrder]]) -> None:
    """Asked twice before the sweeper comes, it is one try."""
    rows = await store.lock_orders(work.db, {m.message.order_id for m in messages})
    orders = {row["id"]: row for row in rows}
    due = []
    for m in messages:
        asked = m.message
        order = orders.get(asked.order_id)
        if order is None:
            work.park(m, f"there is no order {asked.order_id}")
            continue
        state = order["saga_state"]
        if state not in WAITS_FOR_ANSWER and order["stuck_reason"] is None:
            decision = order["refused_refund"] is not None
            work.send(_refusal(asked, state, OrderStatus(order["status"]), decision=decision), m)
            continue
        due.append(asked.order_id)
        work.send(
            OrderWaits(
                order_id=asked.order_id,
                saga_state=state,
                rounds=order["rounds"],
                next_try_at=work.now,
                requested_by=asked.requested_by,
                reason=asked.reason,
                stuck_reason=order["stuck_reason"],
                at=work.now,
            ),
            m,
        )
    if due:
        await store.make_due(work.db, due, work.now)


def _refusal(
    asked: RetryOrder, state: str, status: OrderStatus, *, decision: bool
) -> CommandRefused:
    waits_for = "the customer" if state == State.AWAITING_PAYMENT else "no answer"
    if decision:
        waits_for = "a decision about its refused refund"
    return CommandRefused(
        order_id=asked.order_id,
        command=RetryOrder.wire_type,
        requested_by=asked.requested_by,
        reason=f"it waits for {waits_for}: it is {state}",
        status=status,
    )
