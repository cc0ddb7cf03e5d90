"""The catalogue as the storefront shows it (public)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from services.gateway.gateway import TheGateway
from services.gateway.store import products
from services.gateway.views import ProductPage, ProductView
from services.kit.problems import ApiProblem, ProblemDocument

router = APIRouter(prefix="/v1/products", tags=["catalogue"])


@router.get("", summary="List products")
async def list_products(
    gateway: TheGateway,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next_cursor` of the page before")] = None,
) -> ProductPage:
    found = await products.list_products(gateway.service.pool, cursor, limit + 1)
    page = found[:limit]
    return ProductPage(
        data=[ProductView.model_validate(product) for _id, product in page if product],
        next_cursor=page[-1][0] if len(found) > limit else None,
    )


@router.get(
    "/{product_id}",
    summary="Read a product",
    responses={404: {"model": ProblemDocument, "description": "Unknown or removed"}},
)
async def read(gateway: TheGateway, product_id: UUID) -> ProductView:
    product = await products.find_product(gateway.service.pool, product_id)
    if product is None:
        raise ApiProblem(404, "There is no such product")
    return ProductView.model_validate(product)
