"""Wires the payment service."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path

from contracts.topics import AUDIT_PAYMENT, PAYMENT_COMMANDS, PAYMENT_EVENTS, STRIPE_WEBHOOKS
from services.kit.service import Service
from services.kit.work import Work
from services.payment import checking, stripe_api
from services.payment.charging import Charging
from services.payment.handlers import handlers
from services.payment.instant import InstantProvider
from services.payment.measuring import measure
from services.payment.provider import Provider
from services.payment.reconciling import Reconciling
from services.payment.settings import PaymentSettings
from services.payment.store import forget_events
from services.payment.stripe_api import StripeApi

_EVENTS_KEPT = timedelta(days=90)  # three times as long as Stripe's own list goes back
_FORGOTTEN_AT_ONCE = 20_000
"""Rows per minute: more than come, and a delete of seconds however much has piled up."""


def build(settings: PaymentSettings) -> Service:
    """The payment service with everything that it runs."""
    instant = settings.payment_provider == "instant"
    connect_to_stripe = partial(stripe_api.connect, settings, stripe_api.limit_calls(settings))

    def connect() -> AbstractAsyncContextManager[Provider]:
        return nullcontext(InstantProvider()) if instant else connect_to_stripe()

    charging = Charging(
        connect,
        settings.terms,
        slots=settings.batch_size if instant else settings.stripe_workers,
        key_lifetime=settings.stripe_key_lifetime_seconds,
    )
    service = Service(
        name="payment",
        settings=settings,
        migrations=Path(__file__).parent / "migrations",
        consumes=(PAYMENT_COMMANDS, STRIPE_WEBHOOKS),
        emits=(PAYMENT_EVENTS, AUDIT_PAYMENT),
        handlers=handlers(settings.terms, charging.wake),
    )
    service.background(name="stripe_calls")(charging.run)

    @service.every(seconds=60, name="forget_stripe_events")
    async def forget_stripe_events(work: Work) -> None:
        await forget_events(work.db, work.now - _EVENTS_KEPT, _FORGOTTEN_AT_ONCE)

    if not instant:
        _reconcile(service, settings, connect_to_stripe, charging.wake)
    return service


def _reconcile(
    service: Service,
    settings: PaymentSettings,
    connect: Callable[[], AbstractAsyncContextManager[StripeApi]],
    wake: Callable[[], None],
) -> None:
    reconciling = Reconciling(
        connect,
        every=timedelta(seconds=settings.reconcile_seconds),
        inbox=timedelta(days=settings.inbox_retention_days),
    )
    service.background(name="reconcile")(reconciling.run)
    service.every(seconds=10, name="measure_payments")(measure)
    open_too_long = timedelta(seconds=settings.open_too_long_seconds)

    @service.every(seconds=checking.EVERY, name="check_open_payments")
    async def check_open_payments(work: Work) -> None:
        await checking.check_open_payments(work, open_too_long, wake)
