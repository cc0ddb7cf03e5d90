"""Personal data: the one message that carries any. See docs/decisions for why."""

from uuid import UUID

from contracts.message import Message, Value
from contracts.topics import CUSTOMER_CONTACTS


class PostalAddress(Value):
    name: str
    line1: str
    line2: str | None = None
    city: str
    postal_code: str
    country: str


class ContactGiven(Message, type="customer.contact-given.v1", topic=CUSTOMER_CONTACTS):
    """How to reach the customer of one order."""

    order_id: UUID
    customer_id: str
    email: str
    shipping_address: PostalAddress | None = None
