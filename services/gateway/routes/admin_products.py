"""Product administration: inventory does it, the answer comes when it is done."""

from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel

from contracts.inventory import AdjustStock, Product, PutProduct, RemoveProduct
from services.gateway.commanding import have_inventory_do
from services.gateway.gateway import IdempotencyKey, TheGateway
from services.gateway.requests import ProductRequest, StockRequest
from services.kit.auth import Staff
from services.kit.problems import ProblemDocument

router = APIRouter(
    prefix="/v1/admin/products",
    tags=["administration"],
    responses={
        404: {"model": ProblemDocument, "description": "No such product"},
        409: {"model": ProblemDocument, "description": "Not possible, with the reason"},
        503: {"model": ProblemDocument, "description": "Not done in time; may still be done"},
    },
)


class _Nothing(BaseModel):
    """The body of a request that has none."""


@router.put("/{product_id}", response_model=Product, summary="Create or change a product")
async def put(
    gateway: TheGateway,
    caller: Staff,
    product_id: UUID,
    body: ProductRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A new product has stock 0; the stock of an existing one is not touched."""
    command = PutProduct(
        product_id=product_id, requested_by=caller.customer_id, **body.model_dump()
    )
    answer = await have_inventory_do(gateway, caller, command, body, idempotency_key)
    return answer.response()


@router.delete("/{product_id}", response_model=Product, summary="Take a product off the catalogue")
async def remove(
    gateway: TheGateway,
    caller: Staff,
    product_id: UUID,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Orders that hold it go on."""
    command = RemoveProduct(product_id=product_id, requested_by=caller.customer_id)
    answer = await have_inventory_do(gateway, caller, command, _Nothing(), idempotency_key)
    return answer.response()


@router.post("/{product_id}/stock", response_model=Product, summary="Change a product's stock")
async def adjust_stock(
    gateway: TheGateway,
    caller: Staff,
    product_id: UUID,
    body: StockRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """`delta` is added; send an `Idempotency-Key`, so that a repeat does not add it twice."""
    command = AdjustStock(
        product_id=product_id,
        requested_by=caller.customer_id,
        delta=body.delta,
        reason=body.reason,
    )
    answer = await have_inventory_do(gateway, caller, command, body, idempotency_key)
    return answer.response()
