"""Payments that have been open too long: Stripe is asked how they are.

The second net below webhooks and Stripe's list of events: it needs neither. A payment is checked
at the age of OPEN_TOO_LONG_SECONDS, then each time its age has doubled, until it has ended; the
same goes for refunds on their way to the customer. No payment needs a timer for that: what falls
due between two looks follows from its age.

A check is a call of the queue like any other, and its answer settles the payment by the same rules.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from services.kit.isolation import isolate
from services.kit.telemetry import log
from services.kit.work import Work
from services.payment import rules, store, turns
from services.payment.changes import Cause, Changes

EVERY: Final = 5.0
"""Seconds between two looks."""

_AT_ONCE = 25  # a trickle, since these calls share their limit with customers who wait
_NO_TIME = timedelta(0)
_CAUSE = Cause("payment.check", "payment:check", traceparent=None)


async def check_open_payments(
    work: Work, open_too_long: timedelta, wake: Callable[[], None]
) -> None:
    """Queue the calls that fell due since the last look, the longest overdue first. A payment that
    cannot be checked holds up no other; it is due again when its age has doubled."""
    turn = await turns.take(work.db, "payments", pause=_NO_TIME, lease=_NO_TIME)
    if turn is None:
        return
    due = await store.due_checks(work.db, turn.reached, turn.now, open_too_long, _AT_ONCE)

    async def check(order_ids: Sequence[UUID]) -> None:
        changes = Changes(work)
        await changes.lock(set(order_ids))
        for order_id in order_ids:
            changes.apply(changes[order_id], _CAUSE, rules.check)
        if await changes.save():
            work.after_commit(wake)

    order_ids = list(dict.fromkeys(check.order_id for check in due))
    for culprit in await isolate(work, "check_open_payments", order_ids, check):
        log.error("payment not checked", order_id=str(culprit.item), reason=culprit.reason)
    reached = turn.now if len(due) < _AT_ONCE else due[-1].fell_due
    await turns.keep(work.db, turn._replace(reached=reached))
