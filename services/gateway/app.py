"""Wires the gateway: one process that serves the HTTP API and follows the topics it shows."""

from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI

from contracts.topics import (
    CUSTOMER_CONTACTS,
    INVENTORY_CATALOG,
    INVENTORY_COMMANDS,
    INVENTORY_REPLIES,
    ORDER_COMMANDS,
    ORDER_EVENTS,
    STRIPE_WEBHOOKS,
)
from services.gateway.channels import COMMAND_ANSWERED, ORDER_CHANGED
from services.gateway.gateway import Gateway
from services.gateway.projections import HANDLERS
from services.gateway.routes import (
    admin_orders,
    admin_products,
    carts,
    events,
    orders,
    products,
    stripe_webhook,
)
from services.gateway.settings import Settings
from services.gateway.store import keys
from services.gateway.store.orders import load_waited_for
from services.gateway.store.products import forget_answers, load_answers
from services.gateway.turns import Turns
from services.gateway.waiting import Hub
from services.kit import problems
from services.kit.auth import Tokens
from services.kit.middleware import BodyLimit, SafeHeaders, TraceContext
from services.kit.service import Service
from services.kit.work import Work

MAX_BODY_BYTES = 256 * 1024
_PATIENCE_SECONDS = 3.0
"""A crowd of some hundreds is served within it; a person has not yet pressed the button again."""
_FORGOTTEN_AT_ONCE = 20_000


def build(settings: Settings) -> tuple[Service, FastAPI]:
    """The service and its web application; `service.run(app=app)` serves it."""
    service = Service(
        name="gateway",
        settings=settings,
        migrations=Path(__file__).parent / "migrations",
        consumes=(ORDER_EVENTS, INVENTORY_CATALOG, INVENTORY_REPLIES),
        handlers=HANDLERS,
        emits=(ORDER_COMMANDS, INVENTORY_COMMANDS, CUSTOMER_CONTACTS, STRIPE_WEBHOOKS),
        ready_without_broker=True,
    )
    hub = Hub(
        settings.database_url, {ORDER_CHANGED: load_waited_for, COMMAND_ANSWERED: load_answers}
    )

    @service.background(name="hand_out_news")
    async def hand_out_news(_service: Service) -> None:
        await hub.run()

    @service.every(seconds=30, name="forget_expired_keys")
    async def forget_expired_keys(work: Work) -> None:
        await keys.forget_expired_keys(work.db, _FORGOTTEN_AT_ONCE)

    @service.every(seconds=60, name="forget_command_answers")
    async def forget_command_answers(work: Work) -> None:
        # A repeat under an idempotency key may still ask for one.
        await forget_answers(
            work.db, older_than=keys.KEPT + timedelta(hours=1), limit=_FORGOTTEN_AT_ONCE
        )

    tokens = Tokens(settings)

    @service.background(name="refresh_signing_keys")
    async def refresh_signing_keys(_service: Service) -> None:
        await tokens.refresh_keys()

    return service, _web(settings, service, Gateway(settings, service, hub), tokens)


def _web(settings: Settings, service: Service, gateway: Gateway, tokens: Tokens) -> FastAPI:
    app = FastAPI(
        title="orderflow",
        version="1",
        description="Products, orders and payments of the shop. Prices are minor units (cents). "
        "Errors are `application/problem+json`. Customers and staff send a bearer token (JWT).",
        lifespan=service.lifespan,
        redirect_slashes=False,
    )
    app.state.gateway = gateway
    app.state.tokens = tokens
    for rooms in (orders, events, carts, products, admin_orders, admin_products, stripe_webhook):
        app.include_router(rooms.router)
    health = service.health_routes()
    app.router.routes.extend(health)
    problems.install(app)
    # The last one added is the outermost. A request at work has a connection soon, or it would wait
    # for one out of its order. Stripe's news of money come first; they need no connection.
    app.add_middleware(
        Turns,
        at_once=settings.database_pool_size,
        patience=_PATIENCE_SECONDS,
        always={stripe_webhook.PATH, *(route.path for route in health)},
    )
    app.add_middleware(
        BodyLimit,
        limit=MAX_BODY_BYTES,
        exceptions={stripe_webhook.PATH: stripe_webhook.MAX_BYTES},
    )
    app.add_middleware(SafeHeaders)
    app.add_middleware(TraceContext)
    return app
