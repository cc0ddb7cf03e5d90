"""Placing an order: one transaction, and then, if the customer likes, the decision.

Nothing is checked here but the form: whether the products exist, at what price and in which
number is decided by the reservation, which has the locks.
"""

import asyncio
import re
from uuid import UUID

from contracts.customer import ContactGiven
from contracts.message import new_message_id
from contracts.order import OrderUpdated, PlaceOrder
from services.gateway.answers import Answer, accepted, decided
from services.gateway.channels import ORDER_CHANGED
from services.gateway.gateway import Gateway
from services.gateway.idempotency import KeyedRequest, claim, remember
from services.gateway.requests import NewOrder
from services.gateway.views import first_view
from services.kit.auth import Caller
from services.kit.work import utc_now

LONGEST_WAIT_SECONDS = 30
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


def wait_preference(prefer: str | None) -> int:
    """Seconds of `Prefer: wait=N` (RFC 7240), 30 at most; 0 when there is none."""
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), LONGEST_WAIT_SECONDS) if found else 0


async def place_order(
    gateway: Gateway, caller: Caller, key: str, body: NewOrder, wait: int
) -> Answer:
    """Place the order once per key, and wait up to `wait` seconds for what becomes of it.

    201 with the order, 400 with the problems, 202 while nothing is decided.

    Raises:
        ApiProblem: see `idempotency.claim`.
    """
    request = KeyedRequest.of(caller.customer_id, key, "place-order", body, wait=wait)
    order = first_view(new_message_id(), caller.customer_id, utc_now())
    on_its_way = accepted(order)
    async with gateway.service.transaction(publish="later") as work:
        earlier = await claim(
            work, request, order.order_id, answer=None if wait else on_its_way, order=order
        )
        if earlier is None:
            work.send(
                PlaceOrder(
                    order_id=order.order_id,
                    customer_id=caller.customer_id,
                    lines=body.lines,
                    currency=body.currency,
                )
            )
            work.send(
                ContactGiven(
                    order_id=order.order_id,
                    customer_id=caller.customer_id,
                    email=body.email,
                    shipping_address=body.postal_address,
                )
            )
    if isinstance(earlier, Answer):
        return earlier
    if earlier is None and not wait:
        return on_its_way
    order_id = earlier or order.order_id
    answer = await _decision(gateway, caller, order_id, wait)
    return await remember(gateway.service.pool, request, order_id, answer)


async def _decision(gateway: Gateway, caller: Caller, order_id: UUID, wait: int) -> Answer:
    """What became of the order, or 202 with the newest that is known after `wait` seconds."""
    answer = Answer(202, {"order_id": str(order_id), "status": "pending"})
    with gateway.hub.listen(ORDER_CHANGED, order_id) as listener:
        try:
            # A repeat without a wait still deserves a look at what is known already.
            async with asyncio.timeout(max(wait, 1)):
                while document := await listener.next():
                    order = OrderUpdated.model_validate_json(document)
                    answer = decided(order, caller) or accepted(order)
                    if answer.status != 202 or not wait:
                        break
        except TimeoutError:
            pass
    return answer
