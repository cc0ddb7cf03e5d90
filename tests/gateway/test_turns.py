"""More requests than can be served: who is at work, who waits in line, and who is sent away."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx

from services.kit.db import Connection
from tests.gateway.conftest import Api, cart
from tests.gateway.test_webhook import event, post

AT_ONCE = 10
"""What the gateway's settings say when nobody says otherwise."""


@asynccontextmanager
async def no_order_gets_on(api: Api) -> AsyncIterator[Connection]:
    """Whoever places an order waits in the database, with a connection, until this is over."""
    db = await asyncpg.connect(api.service.settings.database_url)
    try:
        async with db.transaction():
            await db.execute("LOCK TABLE idempotency_keys")
            yield db
    finally:
        await db.close()


async def catalogue(api: Api) -> httpx.Response:
    return await api.http.get("/v1/products")


async def test_a_crowd_is_served_in_turns(api: Api, customer: str) -> None:
    answers = await asyncio.gather(*(api.place(customer) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {202}


async def test_who_is_too_far_back_in_the_line_hears_it_soon(api: Api, customer: str) -> None:
    async with no_order_gets_on(api) as db:
        at_work = [asyncio.create_task(api.place(customer)) for _ in range(AT_ONCE)]
        held_up = (
            "SELECT count(*) FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted"
        )
        while await db.fetchval(held_up, "idempotency_keys") < AT_ONCE:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

        began = asyncio.get_running_loop().time()
        sent_away = await catalogue(api)
        assert 2 < asyncio.get_running_loop().time() - began < 10
        assert sent_away.status_code == 503
        assert int(sent_away.headers["Retry-After"]) > 0
        assert "try again" in sent_away.json()["detail"]

        # A process at its limit is alive, and Stripe's news do not wait behind customers.
        assert (await api.http.get("/healthz")).is_success
        assert (await post(api, json.dumps(event("o")))).is_success
    assert {answer.status_code for answer in await asyncio.gather(*at_work)} == {202}
    assert (await catalogue(api)).is_success


async def test_who_waits_for_a_decision_holds_nobody_up(api: Api, customer: str) -> None:
    waiting = [asyncio.create_task(api.place(customer, wait=5)) for _ in range(3 * AT_ONCE)]
    await asyncio.sleep(1)
    assert (await catalogue(api)).is_success
    await asyncio.gather(*waiting)


async def test_who_sends_slowly_holds_nobody_up(api: Api, customer: str) -> None:
    complete = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        body = json.dumps(cart()).encode()
        yield body[:10]
        await complete.wait()
        yield body[10:]

    def place_slowly(number: int) -> asyncio.Task[httpx.Response]:
        headers = api.bearer(customer) | {
            "Idempotency-Key": f"slow-{number}",
            "Content-Type": "application/json",
        }
        return asyncio.create_task(api.http.post("/v1/orders", content=slowly(), headers=headers))

    sending = [place_slowly(number) for number in range(2 * AT_ONCE)]
    await asyncio.sleep(0.5)
    assert (await catalogue(api)).is_success
    complete.set()
    assert {answer.status_code for answer in await asyncio.gather(*sending)} == {202}
