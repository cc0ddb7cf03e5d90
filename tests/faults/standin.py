"""The controls of the Stripe stand-in, as faults use them."""

import asyncio
from collections import Counter
from typing import Any

from tests.faults.nemesis import Beaten, NotStruck


class StandIn:
    """The controls of the Stripe stand-in."""

    def __init__(self, beaten: Beaten) -> None:
        self._client = beaten.client
        self._url = f"{beaten.stack.stripe}/_control"

    async def strike(self, rules: list[dict[str, Any]]) -> None:
        """Put rules in force; see the stand-in's documentation."""
        answer = await self._client.post(f"{self._url}/faults", json=rules)
        answer.raise_for_status()

    async def left(self) -> dict[str, int]:
        """By kind, how often rules in force will still strike."""
        listed = (await self._client.get(f"{self._url}/faults")).raise_for_status().json()
        left: dict[str, int] = {}
        for rule in listed["faults"]:
            left[rule["kind"]] = left.get(rule["kind"], 0) + rule["count"]
        return left

    async def clear(self) -> None:
        """Stripe is itself again."""
        (await self._client.delete(f"{self._url}/faults")).raise_for_status()

    async def do(self, path: str) -> dict[str, int]:
        """Use a control that needs no body."""
        answer: dict[str, int] = (
            (await self._client.post(f"{self._url}/{path}")).raise_for_status().json()
        )
        return answer

    async def webhooks(self) -> dict[str, int]:
        """How many were delivered, failed, are due, ..."""
        seen = (await self._client.get(f"{self._url}/requests")).raise_for_status().json()
        counts: dict[str, int] = seen["webhooks"]
        return counts

    async def operations(self) -> Counter[str]:
        """How often each API operation was called so far."""
        seen = (await self._client.get(f"{self._url}/requests")).raise_for_status().json()
        counts = {name: sum(each.values()) for name, each in seen["operations"].items()}
        return Counter(counts)

    async def hold(self, rules: list[dict[str, Any]], seconds: float) -> str:
        """Rules in force until they are used up or time is over; says how often each kind struck.

        Raises NotStruck if one of them never did.
        """
        counts = Counter[str]()
        for rule in rules:
            counts[rule["kind"]] += rule["count"]
        left: dict[str, int] = {}
        try:
            await self.strike(rules)
            for _ in range(int(seconds * 10)):
                left = await self.left()
                if not left:
                    break
                await asyncio.sleep(0.1)
        finally:
            await self.clear()
        struck = {kind: count - left.get(kind, 0) for kind, count in counts.items()}
        if not all(struck.values()):
            raise NotStruck(f"not every rule struck: {struck}")
        return ", ".join(f"{kind} {count} times" for kind, count in struck.items())
