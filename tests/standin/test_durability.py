"""What was acknowledged survives kill -9, and two processes cannot share a file."""

import asyncio
import signal
from pathlib import Path

import pytest
import stripe

from tests.standin.process import StandinProcess, running


async def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as standin:
        acknowledged: set[str] = set()
        under_way = asyncio.Event()

        async def create_until_it_dies(caller: int) -> None:
            for number in range(10_000):
                try:
                    intent = await standin.intents.create_async(
                        {"amount": 100, "currency": "zar"},
                        {"idempotency_key": f"{caller}-{number}"},
                    )
                except stripe.APIConnectionError:
                    return
                acknowledged.add(intent.id)
                if len(acknowledged) == 300:
                    under_way.set()

        callers = [asyncio.create_task(create_until_it_dies(caller)) for caller in range(20)]
        await under_way.wait()
        await standin.stop(signal.SIGKILL)
        await asyncio.gather(*callers)
        await standin.start()

        listed = await standin.intents.list_async({"limit": 100})
        kept = {intent.id async for intent in listed.auto_paging_iter()}
        repeated = await standin.intents.create_async(
            {"amount": 100, "currency": "zar"}, {"idempotency_key": "0-0"}
        )

    assert acknowledged <= kept
    assert len(kept) - len(acknowledged) <= 20  # at most one per caller was not heard of
    assert repeated.id in acknowledged


async def test_a_debit_settles_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as standin:
        intent = await standin.paid("pm_usBankAccount_success")
        await standin.gone_and_back()

        await standin.becomes(intent.id, "succeeded")


async def test_a_second_process_on_the_same_file_is_refused(standin: StandinProcess) -> None:
    with pytest.raises(RuntimeError, match="another stand-in is using it"):
        async with running(Path(standin.environment["STANDIN_DATABASE"])):
            pass


async def test_webhooks_without_a_secret_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="needs STRIPE_WEBHOOK_SECRET"):
        async with running(tmp_path / "db", STANDIN_WEBHOOK_URL="http://127.0.0.1:9/"):
            pass


async def test_a_seed_gives_the_same_ids_and_a_restart_gives_others(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        first = await one.open()
        same = await two.open()
        await one.gone_and_back()
        other = await one.open()

    assert first.id == same.id
    assert other.id != first.id
