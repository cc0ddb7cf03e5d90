"""The order service: wiring."""

from datetime import timedelta
from pathlib import Path

from contracts.topics import (
    AUDIT_ORDER,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDER_COMMANDS,
    ORDER_EVENTS,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
)
from services.kit.service import Service
from services.kit.work import Work
from services.order.dead_letters import replay_dead_letters
from services.order.deadlines import Timing
from services.order.decisions import count_undecided
from services.order.handlers import OrderHandlers
from services.order.settings import OrderSettings
from services.order.sweeper import count_stuck, retry_stuck, sweep_deadlines


def build(settings: OrderSettings) -> Service:
    timing = Timing(
        reservation=timedelta(seconds=settings.reservation_seconds),
        step=timedelta(seconds=settings.step_timeout_seconds),
    )
    handlers = OrderHandlers(timing)
    service = Service(
        name="order",
        settings=settings,
        migrations=Path(__file__).parent / "migrations",
        consumes=(ORDER_COMMANDS, INVENTORY_EVENTS, PAYMENT_EVENTS),
        emits=(ORDER_EVENTS, INVENTORY_COMMANDS, PAYMENT_COMMANDS, AUDIT_ORDER),
        handlers=handlers.by_message(),
    )

    service.on_start(retry_stuck)

    @service.every(seconds=0.5, name="sweep_deadlines")
    async def deadlines(work: Work) -> None:
        await sweep_deadlines(work, handlers)

    service.every(seconds=30, name="count_stuck")(count_stuck)
    service.every(seconds=5, name="replay_dead_letters")(replay_dead_letters)

    service.every(seconds=30, name="count_undecided")(count_undecided)

    return service
