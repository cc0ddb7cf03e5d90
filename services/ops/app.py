"""Wires the ops service: one process that follows all topics and serves the HTTP API."""

from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI

from contracts.topics import (
    AUDIT_INVENTORY,
    AUDIT_ORDER,
    AUDIT_PAYMENT,
    DEAD_LETTERS,
    INVENTORY_CATALOG,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    INVENTORY_REPLIES,
    OPERATIONS,
    ORDER_COMMANDS,
    ORDER_EVENTS,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
    STRIPE_WEBHOOKS,
    Topic,
)
from services.kit import problems
from services.kit.auth import Tokens
from services.kit.middleware import BodyLimit, SafeHeaders, TraceContext
from services.kit.service import Service
from services.kit.work import Work
from services.ops.console import app as console
from services.ops.console.proxies import Proxies
from services.ops.counting import count_stock
from services.ops.doors import Doors
from services.ops.measuring import keep_measuring_lags, keep_verifying, measure
from services.ops.observing import observe
from services.ops.ops import Ops
from services.ops.routes import (
    audit,
    bulks,
    dead_letters,
    health,
    notes,
    orders,
    stock,
    stripe,
    verdict,
)
from services.ops.settings import OpsSettings
from services.ops.store.adjustments import give_up_adjustments
from services.ops.store.operations import give_up
from services.ops.store.timeline import forget_messages

# Not customer.contacts, which is personal.
OBSERVED: tuple[Topic, ...] = (
    *(AUDIT_ORDER, AUDIT_INVENTORY, AUDIT_PAYMENT),
    *(ORDER_COMMANDS, ORDER_EVENTS),
    *(INVENTORY_COMMANDS, INVENTORY_EVENTS, INVENTORY_REPLIES, INVENTORY_CATALOG),
    *(PAYMENT_COMMANDS, PAYMENT_EVENTS),
    STRIPE_WEBHOOKS,
    *DEAD_LETTERS.values(),
)
MAX_BODY_BYTES = 256 * 1024
_FORGOTTEN_AT_ONCE = 20_000
_KEPT_ON_TOPIC = timedelta(days=7)


def build(settings: OpsSettings) -> tuple[Service, FastAPI]:
    """The service and its web application; `service.run(app=app)` serves it."""
    service = Service(
        name="ops",
        settings=settings,
        migrations=Path(__file__).parent / "migrations",
        consumes=OBSERVED,
        handlers={},
        observer=observe,
        emits=(*OPERATIONS.values(), INVENTORY_COMMANDS, ORDER_COMMANDS, PAYMENT_COMMANDS),
        ready_without_broker=True,
    )
    timeline = timedelta(days=settings.timeline_days)

    @service.every(seconds=60, name="forget_messages")
    async def forget_old_messages(work: Work) -> None:
        await forget_messages(work.db, work.now - timeline, _FORGOTTEN_AT_ONCE)

    @service.every(seconds=3600, name="give_up_operations")
    async def give_up_operations(work: Work) -> None:
        await give_up(work.db, _KEPT_ON_TOPIC)
        await give_up_adjustments(work.db, _KEPT_ON_TOPIC)

    service.every(seconds=1, name="count_stock")(count_stock)

    stuck_after = timedelta(seconds=settings.stuck_after_seconds)
    service.background(name="measure_lags")(keep_measuring_lags)

    @service.every(seconds=30, name="measure")
    async def measure_all(work: Work) -> None:
        await measure(work, stuck_after, settings.low_stock)

    @service.background(name="verify_audit")
    async def verify_audit(service: Service) -> None:
        await keep_verifying(service, settings.audit_verify_seconds)

    tokens, proxies = Tokens(settings), Proxies(settings)

    @service.background(name="refresh_signing_keys")
    async def refresh_signing_keys(_service: Service) -> None:
        await tokens.refresh_keys()

    @service.background(name="refresh_console_keys")
    async def refresh_console_keys(_service: Service) -> None:
        await proxies.refresh_keys()

    return service, _web(service, Ops(settings, service), tokens, proxies)


def _web(service: Service, ops: Ops, tokens: Tokens, proxies: Proxies) -> FastAPI:
    app = FastAPI(
        title="orderflow ops",
        version="1",
        description="Audit, timelines, parked messages and stock, for those who run the system. "
        "Errors are `application/problem+json`. Send a bearer token (JWT) with the role "
        "viewer, operator or admin.",
        lifespan=service.lifespan,
        redirect_slashes=False,
    )
    app.state.ops = ops
    app.state.tokens = tokens
    for rooms in (orders, notes, stripe, bulks, dead_letters, stock, audit, health, verdict):
        app.include_router(rooms.router)
    app.router.routes.extend(service.health_routes())
    console.install(app, ops, tokens, proxies)
    problems.install(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit=MAX_BODY_BYTES, exceptions={})
    if ops.settings.console_port:
        app.add_middleware(Doors, console_port=ops.settings.console_port)
    app.add_middleware(SafeHeaders)
    app.add_middleware(TraceContext)
    return app
