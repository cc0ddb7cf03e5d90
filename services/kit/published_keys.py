"""The public keys of an identity provider (JWKS): refreshed in the background, served from memory.

A request whose key is in memory never waits for the provider. A key id that is not in memory starts
one fetch that all such requests share; they wait for it for a bounded time, and not at all while
the provider fails. Keys expire: what the provider published longer than `max_age` ago checks no
token any more, so a key that it withdrew is refused even while it cannot be reached.
"""

import asyncio
import random
import time
from typing import Any, Final

import aiohttp
import jwt
from prometheus_client import Counter, Gauge

from services.kit.calls import backoff
from services.kit.problems import unavailable
from services.kit.telemetry import log

KEY_FETCHES: Final = Counter(
    "orderflow_signing_key_fetches_total",
    "Fetches of the identity provider's keys, by outcome (fetched, failed)",
    ["used_by", "outcome"],
)
KEYS_FETCHED: Final = Gauge(
    "orderflow_signing_keys_fetched_timestamp_seconds",
    "When the identity provider's keys were last fetched; 0 until the first fetch",
    ["used_by"],
)
KEYS_EXPIRE: Final = Gauge(
    "orderflow_signing_keys_expire_timestamp_seconds",
    "From when on tokens are refused unless keys are fetched; 0 until the first fetch",
    ["used_by"],
)

_LONGEST_REFRESH_SECONDS: Final = 300.0
_FETCH_SECONDS: Final = 5.0
_WAIT_SECONDS: Final = 2.0
"""How long a request waits for a fetch: less than the gateway's queue lets the others wait."""
_ON_DEMAND_PAUSE_SECONDS: Final = 10.0
"""Tokens with made-up key ids must not make us call the identity provider each time."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class PublishedKeys:
    """The keys behind one URL, by key id.

    `used_by` is the label of the metrics; `max_age` is the time in seconds after which keys are not
    used any more. Without `run` keys are fetched on demand only.
    """

    def __init__(self, url: str, *, used_by: str, max_age: float) -> None:
        self._url = url
        self._used_by = used_by
        self._max_age = max_age
        self._refresh_every = min(_LONGEST_REFRESH_SECONDS, max_age / 4)
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._demanded = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._failures = 0
        self._too_slow = False
        KEYS_FETCHED.labels(used_by).set(0)
        KEYS_EXPIRE.labels(used_by).set(0)

    async def run(self) -> None:
        """Refresh the keys until cancelled."""
        try:
            while True:
                await asyncio.wait({self._fetch()})
                chance = random.random()  # noqa: S311  # jitter
                pause = self._refresh_every * (0.9 + chance / 10)
                if self._failures:
                    retry = backoff(_FIRST_PAUSE, _LONGEST_PAUSE, self._failures, chance)
                    pause = min(pause, retry)
                await asyncio.sleep(pause)
        finally:
            if self._fetching is not None:
                self._fetching.cancel()

    async def get(self, key_id: str | None) -> jwt.PyJWK:
        """The key of that id.

        Raises:
            jwt.InvalidKeyError: the provider publishes no such key.
            ApiProblem: 503 when the keys are too old, or the id is unknown and the provider fails.
        """
        if not self._usable(key_id):
            await self._fetch_on_demand()
        if self._usable(key_id):
            return self._keys[key_id]
        if self._expired or self._failing:
            raise unavailable("Tokens cannot be checked right now; please try again")
        raise jwt.InvalidKeyError("no such key")

    @property
    def _expired(self) -> bool:
        return time.monotonic() - self._fetched > self._max_age

    @property
    def _failing(self) -> bool:
        return self._too_slow or self._failures > 0

    def _usable(self, key_id: str | None) -> bool:
        return key_id in self._keys and not self._expired

    async def _fetch_on_demand(self) -> None:
        under_way = self._fetching is not None and not self._fetching.done()
        now = time.monotonic()
        if not under_way and now - self._demanded < _ON_DEMAND_PAUSE_SECONDS:
            return
        if not under_way:
            self._demanded = now
        # A provider that is known to fail is not waited for: its next answer serves later requests.
        fetching, failing = self._fetch(), self._failing
        if not failing and not (await asyncio.wait({fetching}, timeout=_WAIT_SECONDS))[0]:
            self._too_slow = True

    def _fetch(self) -> asyncio.Task[None]:
        """The fetch under way, or a new one."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch_once())
        return self._fetching

    async def _fetch_once(self) -> None:
        began, wall_clock = time.monotonic(), time.time()
        try:
            keys = await self._read()
        except Exception as error:  # whatever the provider answers, requests are served from memory
            self._failures += 1
            KEY_FETCHES.labels(self._used_by, "failed").inc()
            report = log.error if self._expired else log.warning
            report(
                "keys of the identity provider not fetched",
                used_by=self._used_by,
                error=repr(error),
                expired=self._expired,
            )
            return
        self._keys, self._fetched = keys, began
        self._failures, self._too_slow = 0, False
        KEY_FETCHES.labels(self._used_by, "fetched").inc()
        KEYS_FETCHED.labels(self._used_by).set(wall_clock)
        KEYS_EXPIRE.labels(self._used_by).set(wall_clock + self._max_age)

    async def _read(self) -> dict[str | None, jwt.PyJWK]:
        timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.get(self._url) as response,
        ):
            return _read_keys(await response.json(content_type=None))


def _read_keys(document: Any) -> dict[str | None, jwt.PyJWK]:
    """The keys of a JWKS document; one that cannot be read does not take the others along.

    Raises:
        ValueError: there is no usable key.
    """
    published = document.get("keys") if isinstance(document, dict) else None
    keys = {}
    for each in published if isinstance(published, list) else ():
        try:
            key = jwt.PyJWK.from_dict(each)
        except Exception as error:  # cryptography raises its own for numbers that make no key
            log.warning("a key of the identity provider cannot be read", error=repr(error))
        else:
            keys[key.key_id] = key
    if not keys:
        raise ValueError("the document holds no usable key")
    return keys
