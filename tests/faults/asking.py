"""How people ask a shop that is being beaten: again and again, until there is an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from deploy.local.shop import Json

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0


class GivenUpError(Exception):
    """Somebody got no answer for as long as anybody would ask."""


@dataclass(frozen=True, slots=True)
class Asking:
    """`patience`: seconds of pauses after which people give up."""

    http: aiohttp.ClientSession
    patience: float

    async def tries(self) -> AsyncIterator[None]:
        """One turn per look or try, after growing pauses: who asks a slow shop as often as a fast
        one keeps it slow."""
        pause, left = _FIRST_PAUSE, self.patience
        while left > 0:
            yield
            await asyncio.sleep(pause)
            left -= pause
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def __call__(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Json | None = None,
        form: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The answer, however often it takes to ask; 409 to a repeat means: still at it.

        Raises:
            GivenUpError: there was none.
        """
        async for _ in self.tries():
            try:
                async with self.http.request(
                    method, url, headers=headers, json=body, data=form
                ) as answer:
                    said = await answer.json(content_type=None)
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError, ValueError):
                status, said = 0, None
            again = status == 0 or status == 429 or status >= 500
            if not again and not (status == 409 and "Idempotency-Key" in str(said)):
                return status, said
        raise GivenUpError(f"{method} {url}: no answer")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def browsers(patience: float) -> AsyncIterator[Asking]:
    """The connections of all customers."""
    connector = aiohttp.TCPConnector(limit=600)
    # Of the shop's answer, not of the wait for one of these connections: whoever gave up in that
    # would close another's, and the shop had worked for nobody.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=20)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        yield Asking(http, patience)
