"""The event list that reconciliation reads, and how lists are paged."""

import time
from pathlib import Path

import pytest
import stripe

from tests.standin.process import StandinProcess, running


async def test_the_list_is_walked_by_type_and_time(standin: StandinProcess) -> None:
    since = int(time.time()) - 1
    paid = [(await standin.paid()).id for _ in range(5)]

    events = await standin.client.v1.events.list_async(
        {
            "types": ["payment_intent.succeeded", "charge.refunded"],
            "created": {"gte": since},
            "limit": 2,
        }
    )
    walked = [event async for event in events.auto_paging_iter()]

    ids = [event.data.object["id"] for event in walked]
    assert [id_ for id_ in ids if id_ in paid] == paid[::-1]
    assert len(ids) == len(set(ids))


async def test_newer_events_come_after_a_cursor(standin: StandinProcess) -> None:
    await standin.open()
    cursor = (await standin.client.v1.events.list_async({"limit": 1})).data[0]
    later = [(await standin.open()).id for _ in range(3)]

    newer = await standin.client.v1.events.list_async({"ending_before": cursor.id, "limit": 2})

    # The two that follow the cursor, newest first, and there is one more.
    assert [event.data.object["id"] for event in newer.data] == [later[1], later[0]]
    assert newer.has_more
    walked = [event.data.object["id"] async for event in newer.auto_paging_iter()]
    assert walked == later


async def test_a_wildcard_and_one_type(standin: StandinProcess) -> None:
    await standin.paid()

    charges = await standin.client.v1.events.list_async({"type": "charge.*", "limit": 1})
    intents = await standin.client.v1.events.list_async({"type": "payment_intent.created"})

    assert charges.data[0].type.startswith("charge.")
    assert {event.type for event in intents.data} == {"payment_intent.created"}
    with pytest.raises(stripe.InvalidRequestError, match="only specify one"):
        await standin.client.v1.events.list_async({"type": "x.y", "types": ["x.y"]})


async def test_the_limit_is_between_1_and_100(standin: StandinProcess) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="less than or equal to 100"):
        await standin.intents.list_async({"limit": 101})
    with pytest.raises(stripe.InvalidRequestError, match=r"No such payment_intent: 'pi_no'"):
        await standin.intents.list_async({"starting_after": "pi_no"})


async def test_lists_expand_their_objects(standin: StandinProcess) -> None:
    intent = await standin.paid()

    listed = await standin.intents.list_async(
        {"limit": 1, "expand": ["data.latest_charge", "data.payment_method"]}
    )

    (first,) = listed.data
    assert first.id == intent.id
    assert isinstance(first.latest_charge, stripe.Charge)
    assert isinstance(first.payment_method, stripe.PaymentMethod)


async def test_the_oldest_that_is_finished_is_forgotten(tmp_path: Path) -> None:
    process = running(tmp_path / "db", STANDIN_KEEP="3")
    async with process as standin:
        waiting = await standin.open("order-open")
        paid = [await standin.paid() for _ in range(10)]
        finished = [intent.id for intent in paid]
        await standin.stop()
        await standin.start()  # forgets at the start, then every ten seconds

        kept = [one.id for one in (await standin.intents.list_async({"limit": 100})).data]
        events = (await standin.client.v1.events.list_async({"limit": 100})).data
        charges = (await standin.client.v1.charges.list_async({"limit": 100})).data
        methods = standin.client.v1.payment_methods
        await methods.retrieve_async(str(paid[-1].payment_method))
        with pytest.raises(stripe.InvalidRequestError, match="No such PaymentMethod"):
            await methods.retrieve_async(str(paid[0].payment_method))

    assert kept == [*finished[:-4:-1], waiting.id]
    assert len(events) == 15
    assert {charge.payment_intent for charge in charges} == set(finished[-3:])


async def test_the_ledger_is_paged_oldest_first(standin: StandinProcess) -> None:
    first, *later = [await standin.open(f"order-paged-{number}") for number in range(3)]

    rest = await standin.control("GET", f"/ledger?starting_after={first.id}")
    missing, _ = await standin.call("GET", "/_control/ledger?starting_after=pi_none")

    assert [entry["id"] for entry in rest["data"]] == [intent.id for intent in later]
    assert [entry["order_id"] for entry in rest["data"]] == ["order-paged-1", "order-paged-2"]
    assert not rest["has_more"]
    assert missing == 404
