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
from services.kit.errors import KitError
from services.kit.service import Service
from services.kit.work import Work
from services.order import store
from services.order.deadlines import Timing
from services.order.decisions import count_undecided
from services.order.handlers import OrderHandlers
from services.order.order import State
from services.order.settings import OrderSettings
from services.order.sweeper import count_stuck, sweep_deadlines


class UnknownStates(KitError):  # noqa: N818
    """Rows hold saga states that this version's table does not have."""


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

    @service.on_start
    async def refuse_unknown_states(work: Work) -> None:
        unknown = await store.states_in_use(work.db) - {*State}
        if unknown:
            raise UnknownStates(
                f"orders are in states that this version does not know: {sorted(unknown)}; "
                "run the version that wrote them"
            )

    @service.every(seconds=0.5, name="sweep_deadlines")
    async def deadlines(work: Work) -> None:
        await sweep_deadlines(work, handlers)

    @service.every(seconds=30, name="count_stuck")
    async def stuck(work: Work) -> None:
        await count_stuck(work)

    service.every(seconds=30, name="count_undecided")(count_undecided)

    return service
