"""Stripe's test payment methods, by Stripe's names, and what each of them does."""

from dataclasses import dataclass
from enum import Enum, auto

from deploy.local.stripe_standin.errors import Json, missing
from deploy.local.stripe_standin.forms import read
from deploy.local.stripe_standin.session import Session


@dataclass(frozen=True)
class Decline:
    """Why a payment is refused."""

    code: str
    message: str
    decline_code: str


class Flow(Enum):
    """How a confirmation goes on."""

    AT_ONCE = auto()
    AUTHENTICATE = auto()  # requires_action until the customer has authenticated
    PROCESS = auto()  # processing, settled a little later
    PROCESS_FOREVER = auto()  # processing, until cancelled


class RefundFlow(Enum):
    """How a refund goes on."""

    AT_ONCE = auto()
    PENDING = auto()  # pending, succeeds a little later
    FAILS = auto()  # succeeds, fails a little later


@dataclass(frozen=True)
class Behaviour:
    """What one test payment method does."""

    type: str = "card"
    brand: str = "visa"
    last4: str = "4242"
    flow: Flow = Flow.AT_ONCE
    decline: Decline | None = None
    refund: RefundFlow = RefundFlow.AT_ONCE
    dispute_reason: str | None = None


def _declined(decline_code: str, message: str = "Your card was declined.") -> Decline:
    return Decline("card_declined", message, decline_code)


def _own_code(code: str, message: str) -> Decline:
    return Decline(code, message, code)


GENERIC_DECLINE = _declined("generic_decline")
_NO_FUNDS = _declined("insufficient_funds", "Your card has insufficient funds.")
_DECLINES = {
    "chargeDeclined": ("0002", GENERIC_DECLINE),
    "chargeDeclinedInsufficientFunds": ("9995", _NO_FUNDS),
    "chargeDeclinedLostCard": ("9987", _declined("lost_card")),
    "chargeDeclinedStolenCard": ("9979", _declined("stolen_card")),
    "chargeDeclinedFraudulent": ("0019", _declined("fraudulent")),
    "chargeDeclinedVelocityLimitExceeded": (
        "6975",
        _declined(
            "card_velocity_exceeded",
            "Your card was declined for making repeated attempts too frequently or exceeding "
            "its amount limit.",
        ),
    ),
    "chargeDeclinedExpiredCard": ("0069", _own_code("expired_card", "Your card has expired.")),
    "chargeDeclinedIncorrectCvc": (
        "0127",
        _own_code("incorrect_cvc", "Your card's security code is incorrect."),
    ),
    "chargeDeclinedProcessingError": (
        "0119",
        _own_code(
            "processing_error",
            "An error occurred while processing your card. Try again in a little bit.",
        ),
    ),
    "chargeCustomerFail": ("0341", GENERIC_DECLINE),
}
_BANK_FAILURES = {
    "accountClosed": _own_code("account_closed", "The customer's bank account has been closed."),
    "noAccount": _own_code("no_account", "The customer's bank account could not be located."),
    "insufficientFunds": _own_code(
        "insufficient_funds",
        "The customer's account has insufficient funds to cover this payment.",
    ),
    "debitNotAuthorized": _own_code(
        "debit_not_authorized",
        "The customer has notified their bank that this payment was unauthorized.",
    ),
    "invalidCurrency": _own_code(
        "invalid_currency", "The bank was unable to process this payment in this currency."
    ),
}


def _bank(flow: Flow, decline: Decline | None = None) -> Behaviour:
    return Behaviour("us_bank_account", "", "6789", flow, decline)


def _authenticated(last4: str, decline: Decline | None = None) -> Behaviour:
    return Behaviour(last4=last4, flow=Flow.AUTHENTICATE, decline=decline)


TEST_METHODS: dict[str, Behaviour] = {
    "pm_card_visa": Behaviour(),
    "pm_card_visa_debit": Behaviour(last4="5556"),
    "pm_card_mastercard": Behaviour(brand="mastercard", last4="4444"),
    "pm_card_mastercard_debit": Behaviour(brand="mastercard", last4="8210"),
    "pm_card_mastercard_prepaid": Behaviour(brand="mastercard", last4="5100"),
    "pm_card_amex": Behaviour(brand="amex", last4="8431"),
    "pm_card_discover": Behaviour(brand="discover", last4="1117"),
    "pm_card_threeDSecureOptional": Behaviour(last4="3055"),
    # Stripe's pages name the declines with and without the brand
    **{f"pm_card_{name}": Behaviour(last4=n, decline=why) for name, (n, why) in _DECLINES.items()},
    **{
        f"pm_card_visa_{name}": Behaviour(last4=n, decline=why)
        for name, (n, why) in _DECLINES.items()
    },
    "pm_card_authenticationRequired": _authenticated("3184"),
    "pm_card_authenticationRequiredOnSetup": _authenticated("3155"),
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": _authenticated(
        "3178", _NO_FUNDS
    ),
    "pm_card_threeDSecure2Required": _authenticated("3220"),
    "pm_card_threeDSecureRequired": _authenticated("3063"),
    "pm_card_threeDSecureRequiredChargeDeclined": _authenticated("1629", GENERIC_DECLINE),
    "pm_card_createDispute": Behaviour(last4="0259", dispute_reason="fraudulent"),
    "pm_card_createDisputeProductNotReceived": Behaviour(
        last4="2685", dispute_reason="product_not_received"
    ),
    "pm_card_pendingRefund": Behaviour(last4="7726", refund=RefundFlow.PENDING),
    "pm_card_refundFail": Behaviour(last4="5126", refund=RefundFlow.FAILS),
    "pm_usBankAccount_success": _bank(Flow.PROCESS),
    "pm_usBankAccount_processing": _bank(Flow.PROCESS_FOREVER),
    **{
        f"pm_usBankAccount_{name}": _bank(Flow.PROCESS, why) for name, why in _BANK_FAILURES.items()
    },
}


def attach(session: Session, name: str, intent: str) -> Json:
    """The payment method of an id; the name of a test method makes a new one for the intent.

    Raises StripeError 404 for neither.
    """
    test = TEST_METHODS.get(name)
    if test is None:
        return session.get("payment_method", name, "payment_method")
    method = {
        "id": session.new_id("pm"),
        "object": "payment_method",
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "created": session.now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": test.type,
        **details(test),
    }
    session.insert(method, intent=intent, test_method=name)
    return method


def check(session: Session, name: str) -> None:
    """Raise StripeError 404 unless `attach` would find the method."""
    if name not in TEST_METHODS and session.find("payment_method", name) is None:
        raise missing("payment_method", name, "payment_method")


def behind(session: Session, id_: str | None) -> Behaviour:
    """What a payment method does; a plain Visa card when there is none."""
    name = session.test_method_of(id_) if id_ else None
    return TEST_METHODS[name or "pm_card_visa"]


def details(test: Behaviour) -> Json:
    """The part of a payment method, or of a charge's details, that depends on its type."""
    if test.type == "us_bank_account":
        return {
            "us_bank_account": {
                "account_holder_type": "individual",
                "account_type": "checking",
                "bank_name": "STRIPE TEST BANK",
                "last4": test.last4,
                "routing_number": "110000000",
            }
        }
    return {
        "card": {
            "brand": test.brand,
            "country": "US",
            "exp_month": 12,
            "exp_year": 2034,
            "funding": "credit",
            "last4": test.last4,
        }
    }


def get(session: Session, id_: str, params: Json) -> Json:
    """GET /v1/payment_methods/{id}"""
    read(params, {})
    return session.get("payment_method", id_, "payment_method")
