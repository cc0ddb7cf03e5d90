"""The errors of Stripe's API, with its status codes, types, codes and wording.

    StripeError          what the caller gets instead of the object
    +- CardError         402; the attempt happened, and what it changed stays

Any other StripeError is raised before its operation has changed anything.
"""

from typing import Any

Json = dict[str, Any]


class StripeError(Exception):
    """An answer other than 200.

    `saved` says whether a retry under the same idempotency key gets this answer again: Stripe
    saves results once execution has begun, so not those of parameters that fail validation.
    """

    def __init__(
        self, status: int, type_: str, message: str, *, saved: bool = False, **fields: Any
    ):
        super().__init__(message)
        self.status = status
        self.saved = saved
        self.error: Json = {"type": type_, "message": message}
        self.error.update({name: value for name, value in fields.items() if value is not None})
        if code := fields.get("code"):
            self.error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"


class CardError(StripeError):
    """A payment attempt that was made and refused."""

    def __init__(self, error: Json, intent: Json):
        fields = {name: value for name, value in error.items() if name not in ("type", "message")}
        super().__init__(
            402, error["type"], error["message"], saved=True, payment_intent=intent, **fields
        )


def invalid(
    message: str, *, param: str | None = None, code: str | None = None, saved: bool = False
) -> StripeError:
    """400: the request cannot be carried out as it stands."""
    return StripeError(400, "invalid_request_error", message, code=code, param=param, saved=saved)


def missing(kind: str, id_: str, param: str) -> StripeError:
    """404: there is no object of this kind and id."""
    name = "PaymentMethod" if kind == "payment_method" else kind
    return StripeError(
        404,
        "invalid_request_error",
        f"No such {name}: '{id_}'",
        code="resource_missing",
        param=param,
    )


def unexpected_state(message: str, intent: Json) -> StripeError:
    """400: the intent's status forbids it. Carries the intent, so that a caller sees why."""
    return StripeError(
        400,
        "invalid_request_error",
        message,
        code="payment_intent_unexpected_state",
        payment_intent=intent,
        saved=True,
    )


def unauthorized(message: str, code: str | None = None) -> StripeError:
    """401: no key, or a key that may not do this."""
    return StripeError(401, "invalid_request_error", message, code=code)


def rate_limited() -> StripeError:
    """429: too many requests."""
    return StripeError(
        429,
        "invalid_request_error",
        "Request rate limit exceeded. Learn more about rate limits here "
        "https://stripe.com/docs/rate-limits.",
        code="rate_limit",
    )


def internal(message: str = "An unknown error occurred", *, saved: bool = False) -> StripeError:
    """500: Stripe's own fault."""
    return StripeError(500, "api_error", message, saved=saved)
