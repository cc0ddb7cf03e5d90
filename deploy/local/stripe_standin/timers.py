"""What happens by itself a little later: bank debits settle, refunds arrive or come back.

Timers are rows, so a restart forgets none.
"""

from collections.abc import Callable

from deploy.local.stripe_standin import charging, refunds
from deploy.local.stripe_standin.errors import Json
from deploy.local.stripe_standin.session import Session

_BATCH = 100


def _settle(session: Session, intent: Json) -> None:
    if intent["status"] == "processing":
        charging.settle(session, intent)


# action: the kind of object it is about, and what it does to it
ACTIONS: dict[str, tuple[str, Callable[[Session, Json], None]]] = {
    "settle": ("payment_intent", _settle),
    "complete_refund": ("refund", refunds.complete),
    "fail_refund": ("refund", refunds.fail),
    "fail_disputed_refund": ("refund", refunds.fail_disputed),
}


def run_due(session: Session) -> float | None:
    """Do what is due; the time at which the next one is, if there is any."""
    due = session.db.execute(
        "SELECT seq, action, subject FROM timers WHERE due <= ? ORDER BY due LIMIT ?",
        (session.time, _BATCH),
    ).fetchall()
    for seq, action, subject in due:
        kind, act = ACTIONS[action]
        if obj := session.find(kind, subject):
            act(session, obj)
        session.db.execute("DELETE FROM timers WHERE seq = ?", (seq,))
    next_due: float | None = session.db.execute("SELECT min(due) FROM timers").fetchone()[0]
    return next_due
