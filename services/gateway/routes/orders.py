"""A customer's orders: placing, reading, cancelling."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from contracts.order import OrderUpdated
from services.gateway.answers import Answer, accepted
from services.gateway.gateway import Gateway, IdempotencyKey, TheGateway
from services.gateway.placing import place_order, wait_preference
from services.gateway.requests import PLAIN_TEXT, Cancellation, NewOrder
from services.gateway.rules import Refused, customer_cancels
from services.gateway.store import orders
from services.gateway.views import OrderPage, OrderView, PlacedOrder, order_body
from services.kit.auth import Caller, SignedIn
from services.kit.problems import ApiProblem, ProblemDocument

router = APIRouter(prefix="/v1/orders", tags=["orders"])

Prefer = Annotated[
    str | None,
    Header(description="`wait=N`: wait up to N seconds (30 at most) for the decision"),
]


async def visible_order(gateway: Gateway, caller: Caller, order_id: UUID) -> OrderUpdated:
    """The order, if it is this caller's to see: their own, or any for administrators.

    Raises:
        ApiProblem: 404, the same for an order that does not exist and for somebody else's.
    """
    stored = await orders.find_order(gateway.service.pool, order_id)
    if stored is None or not (caller.is_admin or stored.customer_id == caller.customer_id):
        raise ApiProblem(404, "There is no such order")
    return OrderUpdated.model_validate_json(stored.document)


def conflict(refused: Refused) -> ApiProblem:
    return ApiProblem(409, refused.detail, allowed=[status.value for status in refused.allowed])


@router.post(
    "",
    status_code=202,
    response_model=PlacedOrder,
    summary="Place an order",
    responses={
        201: {"model": OrderView, "description": "Decided: stock reserved, ready to be paid"},
        400: {"model": ProblemDocument, "description": "Decided: cannot be had; or no key"},
        409: {"model": ProblemDocument, "description": "The first request is still running"},
        422: {"model": ProblemDocument, "description": "Not valid, or the key was used otherwise"},
    },
)
async def place(
    gateway: TheGateway,
    caller: SignedIn,
    body: NewOrder,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Answers 202 at once, or with `Prefer: wait=N` the decision if it comes within N seconds.

    Lines of the same product are added up. The price charged is the product's when its stock is
    reserved. Send the same `Idempotency-Key` when you repeat a request whose answer you did not
    get: the order is placed once, and you get the answer that the first request got.
    """
    if idempotency_key is None:
        raise ApiProblem(400, "Placing an order needs an Idempotency-Key header")
    wait = wait_preference(prefer)
    answer = await place_order(gateway, caller, idempotency_key, body, wait)
    return answer.response({"Preference-Applied": f"wait={wait}"} if wait else None)


@router.get("", response_model=OrderPage, summary="List orders, newest first")
async def list_orders(
    gateway: TheGateway,
    caller: SignedIn,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[UUID | None, Query(description="`next_cursor` of the page before")] = None,
    customer_id: Annotated[
        str | None, Query(description="administrators only", max_length=200, pattern=PLAIN_TEXT)
    ] = None,
) -> Response:
    """Your own orders; administrators may ask for another customer's."""
    if customer_id not in {None, caller.customer_id} and not caller.is_admin:
        raise ApiProblem(403, "Only administrators may list another customer's orders")
    rows = await orders.list_orders(
        gateway.service.pool, customer_id or caller.customer_id, cursor, limit + 1
    )
    page = rows[:limit]
    found = (orders.read_order(order_id, document) for order_id, document in page)
    body = {
        "data": [order_body(order, caller) for order in found if order],
        "next_cursor": str(page[-1][0]) if len(rows) > limit else None,
    }
    return Answer(200, body).response()


@router.get(
    "/{order_id}",
    response_model=OrderView,
    summary="Read an order",
    responses={404: {"model": ProblemDocument, "description": "Unknown, or somebody else's"}},
)
async def read(gateway: TheGateway, caller: SignedIn, order_id: UUID) -> Response:
    order = await visible_order(gateway, caller, order_id)
    return Answer(200, order_body(order, caller)).response()


@router.post(
    "/{order_id}/cancellation",
    status_code=202,
    response_model=PlacedOrder,
    summary="Cancel an order",
    responses={409: {"model": ProblemDocument, "description": "Too late, or over already"}},
)
async def cancel(
    gateway: TheGateway, caller: SignedIn, order_id: UUID, body: Cancellation
) -> Response:
    """Possible while the order is pending or confirmed; a paid one is refunded.

    202 means asked: a customer who pays at the same moment may be faster. May be repeated until
    the order shows `cancelled` or `refunded`; from then on the answer is 409.
    """
    order = await visible_order(gateway, caller, order_id)
    if order.customer_id != caller.customer_id:
        raise ApiProblem(403, "Staff cancel by PATCH /v1/admin/orders/{id}/status")
    try:
        command = customer_cancels(order, reason=body.reason)
    except Refused as refused:
        raise conflict(refused) from None
    async with gateway.service.transaction(publish="later") as work:
        work.send(command)
    return accepted(order).response()
