"""Every operation of Stripe's API that the stand-in has, in one table."""

from collections.abc import Callable
from dataclasses import dataclass

from deploy.local.stripe_standin import (
    charges,
    disputes,
    endpoints,
    events,
    intent_steps,
    intents,
    payment_methods,
    refunds,
)
from deploy.local.stripe_standin.errors import Json
from deploy.local.stripe_standin.session import Session

# What an operation does: gets the id of its path ("" for none) and the parameters, gives the
# object. Raises StripeError; see errors.py for what that leaves behind.
Handler = Callable[[Session, str, Json], Json]


@dataclass(frozen=True)
class Operation:
    """One operation. `returns` is the kind of its object, which says what can be expanded."""

    name: str
    method: str
    path: str
    handler: Handler
    returns: str
    publishable: bool = False  # open to a customer's pk_test_ key with the client secret

    @property
    def listing(self) -> bool:
        """Whether it answers a list of objects."""
        return self.name.startswith(("list_", "search_"))


OPERATIONS = (
    Operation(
        "create_payment_intent", "POST", "/payment_intents", intents.create, "payment_intent"
    ),
    Operation("list_payment_intents", "GET", "/payment_intents", intents.list_, "payment_intent"),
    Operation(
        "search_payment_intents",
        "GET",
        "/payment_intents/search",
        intents.search,
        "payment_intent",
    ),
    Operation(
        "get_payment_intent",
        "GET",
        "/payment_intents/{id}",
        intents.get,
        "payment_intent",
        publishable=True,
    ),
    Operation(
        "update_payment_intent", "POST", "/payment_intents/{id}", intents.update, "payment_intent"
    ),
    Operation(
        "confirm_payment_intent",
        "POST",
        "/payment_intents/{id}/confirm",
        intent_steps.confirm,
        "payment_intent",
        publishable=True,
    ),
    Operation(
        "cancel_payment_intent",
        "POST",
        "/payment_intents/{id}/cancel",
        intent_steps.cancel,
        "payment_intent",
    ),
    Operation(
        "capture_payment_intent",
        "POST",
        "/payment_intents/{id}/capture",
        intent_steps.capture,
        "payment_intent",
    ),
    Operation(
        "get_payment_method",
        "GET",
        "/payment_methods/{id}",
        payment_methods.get,
        "payment_method",
    ),
    Operation("list_charges", "GET", "/charges", charges.list_, "charge"),
    Operation("get_charge", "GET", "/charges/{id}", charges.get, "charge"),
    Operation("create_refund", "POST", "/refunds", refunds.create, "refund"),
    Operation("list_refunds", "GET", "/refunds", refunds.list_, "refund"),
    Operation("get_refund", "GET", "/refunds/{id}", refunds.get, "refund"),
    Operation("list_disputes", "GET", "/disputes", disputes.list_, "dispute"),
    Operation("get_dispute", "GET", "/disputes/{id}", disputes.get, "dispute"),
    Operation("update_dispute", "POST", "/disputes/{id}", disputes.update, "dispute"),
    Operation("close_dispute", "POST", "/disputes/{id}/close", disputes.close, "dispute"),
    Operation("list_events", "GET", "/events", events.list_, "event"),
    Operation("get_event", "GET", "/events/{id}", events.get, "event"),
    Operation(
        "create_webhook_endpoint",
        "POST",
        "/webhook_endpoints",
        endpoints.create,
        "webhook_endpoint",
    ),
    Operation(
        "list_webhook_endpoints", "GET", "/webhook_endpoints", endpoints.list_, "webhook_endpoint"
    ),
    Operation(
        "get_webhook_endpoint",
        "GET",
        "/webhook_endpoints/{id}",
        endpoints.get,
        "webhook_endpoint",
    ),
    Operation(
        "update_webhook_endpoint",
        "POST",
        "/webhook_endpoints/{id}",
        endpoints.update,
        "webhook_endpoint",
    ),
    Operation(
        "delete_webhook_endpoint",
        "DELETE",
        "/webhook_endpoints/{id}",
        endpoints.delete,
        "webhook_endpoint",
    ),
)
