"""A stand-in as its own process, and the ways to talk to it: the real SDK and plain HTTP."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import stripe

SECRET_KEY = "sk_test_standin"
PUBLISHABLE_KEY = "pk_test_standin"
_POLL = 0.02


async def eventually(
    check: Callable[[], Awaitable[bool]], what: str, seconds: float = 15.0
) -> None:
    """Wait until `check` holds; fails, naming `what` did not happen, when it takes longer."""
    for _ in range(int(seconds / _POLL)):
        if await check():
            return
        await asyncio.sleep(_POLL)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class StandinProcess:
    """Start, kill and start again, on one port and one file."""

    def __init__(self, database: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "HTTP_PORT": str(self.port),
            "STANDIN_DATABASE": str(database),
            "STANDIN_SEED": "1",
            "STANDIN_SETTLEMENT_DELAY": "0.2",
            "STANDIN_WEBHOOK_BACKOFF": "0.05",
            "STANDIN_SEARCH_DELAY": "0",
            **settings,
        }
        self._transport = stripe.AIOHTTPClient(timeout=10)
        # No retries of the SDK's own, so that tests see every answer.
        self.client = stripe.StripeClient(
            SECRET_KEY,
            http_client=self._transport,
            max_network_retries=0,
            base_addresses={"api": self.url},
        )
        self.intents = self.client.v1.payment_intents
        self.refunds = self.client.v1.refunds
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start and wait until it answers."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "deploy.local.stripe_standin",
            env=self.environment,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            while not await self._healthy():
                if self._process.returncode is not None:
                    _, errors = await self._process.communicate()
                    raise RuntimeError(errors.decode())
                await asyncio.sleep(0.03)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> str:
        """End the process; what it wrote to its error output."""
        if self._process is None:
            return ""
        if self._process.returncode is None:
            self._process.send_signal(how)
        _, errors = await self._process.communicate()
        self._process = None
        return errors.decode()

    async def gone_and_back(self) -> None:
        """Kill it without warning and start it again."""
        await self.stop(signal.SIGKILL)
        await self.start()

    async def close(self) -> None:
        """Stop, and close the client."""
        await self.stop()
        await self._transport.close_async()  # type: ignore[no-untyped-call]

    async def call(
        self, method: str, path: str, *, key: str = SECRET_KEY, **options: Any
    ) -> tuple[int, Any]:
        """One HTTP call as it is: the status and the JSON."""
        headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self.url + path, headers=headers, **options) as response,
        ):
            return response.status, await response.json()

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the control interface, which must work."""
        status, answer = await self.call(method, f"/_control{path}", json=body)
        assert status == 200, answer
        return answer

    async def fault(self, kind: str, **rule: Any) -> None:
        """Set a fault."""
        await self.control("POST", "/faults", {"kind": kind, **rule})

    async def paid(self, method: str = "pm_card_visa", **params: Any) -> stripe.PaymentIntent:
        """An intent that has been confirmed with a payment method."""
        return await self.intents.create_async(
            {
                "amount": 12000,
                "currency": "zar",
                "confirm": True,
                "payment_method": method,
                **params,  # type: ignore[typeddict-item]
            }
        )

    async def open(self, order_id: str = "o-1") -> stripe.PaymentIntent:
        """An intent that waits for a customer."""
        return await self.intents.create_async(
            {"amount": 12000, "currency": "zar", "metadata": {"order_id": order_id}}
        )

    async def becomes(self, intent: str, status: str) -> stripe.PaymentIntent:
        """The intent, once it has a status."""

        async def arrived() -> bool:
            return (await self.intents.retrieve_async(intent)).status == status

        await eventually(arrived, f"{intent} becoming {status}")
        return await self.intents.retrieve_async(intent)

    async def _healthy(self) -> bool:
        try:
            status, _ = await self.call("GET", "/healthz")
        except aiohttp.ClientError:
            return False
        return status == 200


@asynccontextmanager
async def running(database: Path, **settings: str) -> AsyncIterator[StandinProcess]:
    """A stand-in that runs until the end of the block."""
    process = StandinProcess(database, **settings)
    try:
        await process.start()
        yield process
    finally:
        await process.close()
