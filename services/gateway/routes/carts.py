"""Checking a cart before checkout (public)."""

from fastapi import APIRouter

from contracts.cart import check_cart, short_in_cart
from services.gateway.gateway import TheGateway
from services.gateway.requests import Cart
from services.gateway.store import products
from services.gateway.views import CartAnswer

router = APIRouter(prefix="/v1/carts", tags=["catalogue"])


@router.post("/validation", summary="Check a cart")
async def validate(gateway: TheGateway, cart: Cart) -> CartAnswer:
    """Reports the problems of all lines together: gone, switched off, too little stock, price
    changed by more than 1 %. The check reserves nothing; the order does, and checks again."""
    offers = await products.find_products(
        gateway.service.pool, [line.product_id for line in cart.items]
    )
    errors = check_cart(cart.lines, offers, shortage=short_in_cart)
    return CartAnswer(valid=not errors, errors=errors)
