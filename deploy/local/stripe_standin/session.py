"""One unit of work: the objects as one transaction sees them.

Every operation gets a Session. It runs on the database's thread, inside the transaction that is
committed before the caller hears anything.
"""

import sqlite3
import time
from dataclasses import dataclass, field
from random import Random

import orjson

from deploy.local.stripe_standin.errors import Json, missing
from deploy.local.stripe_standin.faults import Faults
from deploy.local.stripe_standin.settings import Settings

# The version that the SDK in requirements.lock speaks; events are rendered in it.
API_VERSION = "2026-10-28.endive"


@dataclass(frozen=True, slots=True)
class Cause:
    """The API request behind a change; both None for what happens by itself."""

    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass(slots=True)
class Session:
    """Reads and writes objects. `created` times are whole seconds, as at Stripe."""

    db: sqlite3.Connection
    settings: Settings
    faults: Faults
    random: Random
    cause: Cause = field(default_factory=Cause)
    time: float = field(default_factory=time.time)
    # What the background work has to be woken for, once this is committed.
    emitted: bool = False
    scheduled: bool = False

    @property
    def now(self) -> int:
        """The time of this unit of work."""
        return int(self.time)

    def new_id(self, prefix: str) -> str:
        """A new id such as `pi_1f...`; reproducible under a seed, never repeated in one file."""
        return f"{prefix}_{self.random.getrandbits(96):024x}"

    def insert(
        self, obj: Json, *, intent: str | None = None, test_method: str | None = None
    ) -> None:
        """Keep a new object. A payment method is kept with its intent, and the name of the test
        method that it was made from."""
        self.db.execute(
            """
            INSERT INTO objects (id, kind, created, status, intent, charge, order_id,
                                 test_method, body)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            (
                obj["id"],
                obj["object"],
                obj["created"],
                obj.get("status"),
                obj.get("payment_intent", intent),
                obj.get("charge"),
                obj["metadata"].get("order_id"),
                test_method,
                orjson.dumps(obj).decode(),
            ),
        )

    def save(self, obj: Json) -> None:
        """Keep a changed object."""
        self.db.execute(
            "UPDATE objects SET status = ?, order_id = ?, body = ? WHERE id = ?",
            (
                obj.get("status"),
                obj["metadata"].get("order_id"),
                orjson.dumps(obj).decode(),
                obj["id"],
            ),
        )

    def delete(self, id_: str) -> None:
        """Forget an object."""
        self.db.execute("DELETE FROM objects WHERE id = ?", (id_,))

    def find(self, kind: str, id_: str | None) -> Json | None:
        """The object, or None."""
        row = self.db.execute(
            "SELECT body FROM objects WHERE id = ? AND kind = ?", (id_, kind)
        ).fetchone()
        return orjson.loads(row[0]) if row else None

    def get(self, kind: str, id_: str, param: str = "id") -> Json:
        """The object. Raises StripeError 404, naming `param`, when there is none."""
        obj = self.find(kind, id_)
        if obj is None:
            raise missing(kind, id_, param)
        return obj

    def of_charge(self, kind: str, charge: str) -> list[Json]:
        """The refunds or disputes of a charge, the oldest first."""
        rows = self.db.execute(
            "SELECT body FROM objects WHERE charge = ? AND kind = ? ORDER BY seq", (charge, kind)
        )
        return [orjson.loads(body) for (body,) in rows.fetchall()]

    def test_method_of(self, id_: str) -> str | None:
        """The name of the test method that a payment method was made from."""
        row = self.db.execute("SELECT test_method FROM objects WHERE id = ?", (id_,)).fetchone()
        return str(row[0]) if row and row[0] else None

    def schedule(self, delay: float, action: str, subject: str) -> None:
        """Have `timers.ACTIONS[action]` done to an object in `delay` seconds."""
        self.db.execute(
            "INSERT INTO timers (due, action, subject) VALUES (?, ?, ?)",
            (self.time + delay, action, subject),
        )
        self.scheduled = True
