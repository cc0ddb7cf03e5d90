"""What callers may send: the shape of every body, checked before anything else happens.

Numbers are strict: `1.5`, `"2"` and `true` are no quantities. Unknown fields are ignored.
"""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from contracts.cart import add_up
from contracts.customer import PostalAddress
from contracts.inventory import MAX_STOCK
from contracts.order import MAX_LINES, MAX_QUANTITY, CartLine, OrderStatus, Quantity
from services.gateway.currencies import CURRENCIES

MAX_BULK = 500
_HIGHEST_PRICE = 99_999_999
"""Stripe charges at most eight digits."""


def _known_currency(value: str) -> str:
    if value not in CURRENCIES:
        raise PydanticCustomError(
            "unknown_currency", "not a currency; use the ISO 4217 code in lower case, such as zar"
        )
    return value


def _not_zero(value: int) -> int:
    if value == 0:
        raise PydanticCustomError("no_change", "must not be 0, which would change nothing")
    return value


# PostgreSQL stores no NUL, and other control characters only serve to deceive readers of logs.
PLAIN_TEXT = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=PLAIN_TEXT)
]
Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=PLAIN_TEXT)
]
Notes = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=5000, pattern=PLAIN_TEXT)
]
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        max_length=254,
        pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$",
    ),
]
KnownCurrency = Annotated[str, AfterValidator(_known_currency)]
Price = Annotated[int, Field(gt=0, le=_HIGHEST_PRICE, strict=True)]


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


# -- carts and orders --------------------------------------------------------------------------


class Line(Body):
    product_id: UUID
    quantity: Quantity
    price: Annotated[int, Field(ge=0, le=_HIGHEST_PRICE, strict=True)] | None = Field(
        default=None,
        description="what the cart showed, in minor units: compared with the product's price, "
        "never charged",
    )


def _each_product_once(lines: list[Line]) -> list[Line]:
    """A cart may list a product twice; from here on it does not."""
    summed: dict[UUID, int] = {}
    for line in lines:
        summed[line.product_id] = summed.get(line.product_id, 0) + line.quantity
        if summed[line.product_id] > MAX_QUANTITY:
            raise PydanticCustomError(
                "quantity_too_large",
                "the lines of product {product_id} add up to more than {most}",
                {"product_id": str(line.product_id), "most": MAX_QUANTITY},
            )
    added = add_up([CartLine(**line.model_dump()) for line in lines])
    return [Line(**line.model_dump()) for line in added]


Lines = Annotated[
    list[Line], Field(min_length=1, max_length=MAX_LINES), AfterValidator(_each_product_once)
]


class Cart(Body):
    items: Lines

    @property
    def lines(self) -> tuple[CartLine, ...]:
        return tuple(CartLine(**line.model_dump()) for line in self.items)


class Address(Body):
    name: Name
    line1: Name
    line2: Name | None = None
    city: Name
    postal_code: Annotated[Name, Field(max_length=20)]
    country: Name = Field(examples=["ZA"])


class NewOrder(Cart):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "items": [
                    {
                        "product_id": "0190a6f2-7c3e-7b1a-9f57-3f1f6a1c2b11",
                        "quantity": 2,
                        "price": 12000,
                    }
                ],
                "email": "thandi@example.com",
            }
        }
    )

    email: Email
    shipping_address: Address | None = None
    currency: KnownCurrency | None = Field(
        default=None,
        description="the currency you expect, as `zar`; without it the products' own",
    )

    @property
    def postal_address(self) -> PostalAddress | None:
        address = self.shipping_address
        return PostalAddress(**address.model_dump()) if address else None


class Cancellation(Body):
    reason: Text


# -- staff -------------------------------------------------------------------------------------


class StatusRequest(Body):
    status: OrderStatus
    reason: Text
    admin_notes: Notes | None = None


class BulkStatusRequest(StatusRequest):
    order_ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_BULK)]


class RefundRequest(Body):
    amount: Price | None = Field(
        default=None, description="minor units; without it whatever has not been refunded yet"
    )
    restock: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="without it, goods that have not been shipped are restocked"
    )
    reason: Text
    admin_notes: Notes | None = None


class ProductRequest(Body):
    name: Name
    price: Price = Field(description="minor units")
    currency: KnownCurrency
    available: Annotated[bool, Field(strict=True)] = True
    low_stock_threshold: Annotated[int, Field(ge=0, le=MAX_STOCK, strict=True)] = 0


class StockRequest(Body):
    delta: Annotated[
        int, Field(ge=-MAX_STOCK, le=MAX_STOCK, strict=True), AfterValidator(_not_zero)
    ]
    reason: Text
