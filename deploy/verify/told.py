"""What customers were told: the side of the story that no database holds.

A load driver that plays customers writes it down; alone, the checker has none of it and compares
the services with each other only.
"""

from dataclasses import dataclass, field
from typing import NamedTuple


class Answer(NamedTuple):
    """One answer to an order under an idempotency key."""

    order_id: str
    customer: str
    key: str


@dataclass(slots=True)
class Told:
    acknowledged: list[Answer] = field(default_factory=list)
    """Every 201 and 202, also those given again under the same key."""
    refused_reads: int = 0
    """How often a customer asked for somebody else's order and got nothing of it."""
    supply: dict[str, int] = field(default_factory=dict)
    """Pieces that staff put on the shelf, by product, each once, as they were told."""
    leaks: list[str] = field(default_factory=list)
    """Answers in which a customer read of somebody else's order."""
