"""What the demonstration expects of each order and each product, and whether it came out so."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.local.shop import Json

SOLD = ("confirmed", "processing", "shipped", "delivered")


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come out. `messages`: a refused order tells one of them, a placed one none."""

    status: str | None = None
    payment_status: str | None = None
    admin_notes: str | None = None
    messages: tuple[str, ...] = ()
    mails: tuple[str, ...] = ()
    """Kinds, in any order."""


@dataclass(slots=True)
class Outcome:
    """One order of one customer: what was wanted and what came of it."""

    title: str
    customer: str
    product: str
    quantity: int
    expected: Expected
    order: Json | None = None
    messages: tuple[str, ...] = ()
    kept: int | None = None
    """The money that Stripe holds for it in the end, in minor units."""
    mails: tuple[str, ...] = ()
    """The kinds of the mails that the customer got."""
    error: str | None = None

    def wrong(self) -> list[str]:
        """One line per expectation that did not come true."""
        if self.error is not None:
            return [self.error]
        if self.expected.messages:
            if self.order is None and set(self.messages) & set(self.expected.messages):
                return []
            return [
                f"expected the refusal {self.expected.messages}, seen {self.messages or 'none'}"
            ]
        if self.order is None:
            return [f"expected an order, seen the refusal {self.messages}"]
        due = self.order["total"] if self.expected.payment_status == "paid" else 0
        pairs = [
            ("status", self.expected.status, self.order["status"]),
            ("payment", self.expected.payment_status, self.order["payment_status"]),
            ("timeline ends", self.expected.status, self.order["history"][-1]["new_status"]),
            ("cents kept at Stripe", due, self.kept),
            ("mails", sorted(self.expected.mails), sorted(self.mails)),
        ]
        if self.expected.admin_notes is not None:
            pairs.append(("notes", self.expected.admin_notes, self.order["admin_notes"]))
        return [f"{what}: expected {e}, seen {s}" for what, e, s in pairs if e != s]


@dataclass(slots=True)
class Stock:
    """A product's stock: what it was, what orders did to it, what the catalogue says it is."""

    product: str
    name: str
    opening: int
    final: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def ordered(self) -> int:
        return sum(o.quantity for o in self.outcomes if o.order)

    @property
    def given_back(self) -> int:
        return sum(o.quantity for o in self.outcomes if o.order and o.order["status"] not in SOLD)

    @property
    def expected(self) -> int:
        return self.opening - self.ordered + self.given_back
