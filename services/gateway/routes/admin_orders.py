"""Staff move orders along, cancel and refund them."""

from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel

from contracts.order import OrderStatus
from services.gateway.answers import Answer, accepted
from services.gateway.gateway import IdempotencyKey, TheGateway
from services.gateway.idempotency import KeyedRequest, claim
from services.gateway.requests import BulkStatusRequest, RefundRequest, StatusRequest
from services.gateway.routes.orders import conflict, visible_order
from services.gateway.rules import Refused, staff_refunds, staff_sets_status
from services.gateway.store import orders
from services.gateway.views import PlacedOrder
from services.kit.auth import Staff
from services.kit.problems import ProblemDocument

router = APIRouter(prefix="/v1/admin/orders", tags=["administration"])

_CONFLICT = {409: {"model": ProblemDocument, "description": "Not possible; `allowed` says what is"}}


class BulkResult(BaseModel):
    order_id: UUID
    accepted: bool
    status: OrderStatus | None = None
    """As it was when asked; None when there is no such order."""
    detail: str | None = None
    allowed: list[OrderStatus] | None = None


class BulkResults(BaseModel):
    results: list[BulkResult]


@router.patch(
    "/{order_id}/status",
    status_code=202,
    response_model=PlacedOrder,
    summary="Change an order's status",
    responses=_CONFLICT,  # type: ignore[arg-type]
)
async def set_status(
    gateway: TheGateway, caller: Staff, order_id: UUID, body: StatusRequest
) -> Response:
    """`cancelled` cancels (and refunds a paid order), `refunded` refunds what is left.

    202 means asked; the order shows when it is done.
    """
    order = await visible_order(gateway, caller, order_id)
    try:
        command = staff_sets_status(
            order,
            body.status,
            by=caller.customer_id,
            reason=body.reason,
            admin_notes=body.admin_notes,
        )
    except Refused as refused:
        raise conflict(refused) from None
    async with gateway.service.transaction(publish="later") as work:
        work.send(command)
    return accepted(order).response()


@router.post("/status", summary="Change the status of many orders")
async def set_status_of_many(
    gateway: TheGateway, caller: Staff, body: BulkStatusRequest
) -> BulkResults:
    """Up to 500 orders; each has its own result, and those that are possible are done."""
    wanted = list(dict.fromkeys(body.order_ids))
    documents = await orders.find_orders(gateway.service.pool, wanted)
    results = []
    async with gateway.service.transaction(publish="later") as work:
        for order_id in wanted:
            document = documents.get(order_id)
            if document is None:
                detail = "There is no such order"
                results.append(BulkResult(order_id=order_id, accepted=False, detail=detail))
                continue
            order = orders.read_order(order_id, document)
            if order is None:
                detail = "The order cannot be read right now; its row of the view is not valid"
                results.append(BulkResult(order_id=order_id, accepted=False, detail=detail))
                continue
            result = BulkResult(order_id=order_id, accepted=True, status=order.status)
            try:
                work.send(
                    staff_sets_status(
                        order,
                        body.status,
                        by=caller.customer_id,
                        reason=body.reason,
                        admin_notes=body.admin_notes,
                    )
                )
            except Refused as refused:
                result.accepted = False
                result.detail = refused.detail
                result.allowed = refused.allowed
            results.append(result)
    return BulkResults(results=results)


@router.post(
    "/{order_id}/refund",
    status_code=202,
    response_model=PlacedOrder,
    summary="Refund an order",
    responses=_CONFLICT,  # type: ignore[arg-type]
)
async def refund(
    gateway: TheGateway,
    caller: Staff,
    order_id: UUID,
    body: RefundRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """All that is left, or `amount` of it. A full refund makes the order `refunded`.

    Send an `Idempotency-Key` with a partial refund: without one a repeat refunds once more.
    """
    order = await visible_order(gateway, caller, order_id)
    answer = accepted(order)
    operation = f"refund {order_id}"
    async with gateway.service.transaction(publish="later") as work:
        if idempotency_key is not None:
            request = KeyedRequest.of(caller.customer_id, idempotency_key, operation, body)
            # Before the checks: after the refund they would refuse the repeat.
            earlier = await claim(work, request, order_id, answer=answer)
            if isinstance(earlier, Answer):
                return earlier.response()
        try:
            command = staff_refunds(order, by=caller.customer_id, **body.model_dump())
        except Refused as refused:
            raise conflict(refused) from None
        work.send(command)
    return answer.response()
