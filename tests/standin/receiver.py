"""A webhook endpoint of the tests: verifies like the gateway does, answers as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import stripe
from aiohttp import web

from tests.standin.process import eventually, free_port


class Receiver:
    """Collects events. `answers` are statuses given first, before 200s; `pause` is in seconds."""

    def __init__(self) -> None:
        self.secret = ""
        self.answers: list[int] = []
        self.pause = 0.0
        self.events: list[stripe.Event] = []
        self.rejected = 0
        self.at_once = 0
        self.most_at_once = 0
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/webhook"

    async def handle(self, request: web.Request) -> web.Response:
        """Take one delivery."""
        body = await request.read()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.pause)
        finally:
            self.at_once -= 1
        if self.answers:
            self.rejected += 1
            return web.Response(status=self.answers.pop(0))
        signature = request.headers["Stripe-Signature"]
        event = stripe.Webhook.construct_event(body, signature, self.secret)
        self.events.append(event)
        return web.Response()

    def types(self, intent: str = "") -> list[str]:
        """The types received so far, of one intent if it is given."""
        return [event.type for event in self.events if intent in str(event.data.object)]

    async def gets(self, *types: str, intent: str = "") -> None:
        """Wait until all of these types have come."""

        async def arrived() -> bool:
            return set(types) <= set(self.types(intent))

        await eventually(arrived, f"webhooks {types}")

    async def until(self, check: Callable[[list[str]], bool], what: str) -> None:
        """Wait until the list of types received is as wanted."""

        async def arrived() -> bool:
            return check(self.types())

        await eventually(arrived, what)


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[Receiver]:
    """Serve the receiver until the end of the block."""
    application = web.Application()
    application.router.add_post("/webhook", receiver.handle)
    # A handler that still pauses is not waited for.
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", receiver.port).start()
    try:
        yield receiver
    finally:
        await runner.cleanup()
