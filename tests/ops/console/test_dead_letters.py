"""Parked messages in the console: seen by cause, replayed and discarded by command."""

from urllib.parse import urlencode

import pytest

from contracts.dead_letters import OperationAnswered
from services.ops.routes.dead_letters import AT_ONCE
from tests.ops.conftest import Watch
from tests.ops.console.conftest import Somebody
from tests.ops.test_observing import change, letter

CAUSE = {
    "service": "payment",
    "type": "payment.cancel-payment.v1",
    "cause": "there is no payment of order ...",
}


async def asked_for(watch: Watch) -> list[tuple[int, str, str, str]]:
    rows = await watch.owner.fetch(
        "SELECT parked_id, operation, requested_by, reason FROM operations ORDER BY parked_id"
    )
    return [tuple(row) for row in rows]


async def test_nothing_parked_says_so(viewer: Somebody) -> None:
    assert "Nothing is parked" in (await viewer.see("/dead-letters")).text
    assert "Nothing of this cause" in (await viewer.see("/dead-letters/cause", **CAUSE)).text


async def test_three_clicks_lead_from_the_overview_to_the_order(
    watch: Watch, viewer: Somebody
) -> None:
    parked = letter(17)
    await watch.hears(parked, letter(18, state="waiting", source_key=parked.source_key))
    overview = await viewer.see("/")
    (cause,) = {link for link in overview.links if "/dead-letters/cause" in link}
    group = await viewer.see(cause.removeprefix("/console"))
    (one,) = {link for link in group.links if link.endswith("/payment/17")}
    page = await viewer.see(one.removeprefix("/console"))
    assert parked.reason in page.text
    assert [link for link in page.links if "/console/orders/" in link]
    assert "/console/dead-letters/payment/18" in page.links  # it waits behind


async def test_who_only_looks_is_offered_nothing_to_do(watch: Watch, viewer: Somebody) -> None:
    await watch.hears(letter(17))
    for page in ("/dead-letters/payment/17", f"/dead-letters/cause?{urlencode(CAUSE)}"):
        seen = await viewer.see(page)
        actions = [attrs["action"] for tag, attrs in seen.elements if tag == "form"]
        assert actions == ["/console/sign-out"]


async def test_an_operator_is_offered_to_replay_and_not_to_discard(
    watch: Watch, operator: Somebody
) -> None:
    parked = letter(17)
    await watch.hears(parked, letter(18, state="waiting", source_key=parked.source_key))
    offered = {}
    for page in (17, 18):
        seen = await operator.see(f"/dead-letters/payment/{page}")
        assert "operator" in seen.text
        offered[page] = [attrs["action"] for tag, attrs in seen.elements if tag == "form"][1:]
    # What waits behind another message is not replayed, only discarded.
    assert offered == {17: ["/console/dead-letters/replay"], 18: []}
    fields = {"csrf": seen.csrf, "service": "payment", "parked_id": "17", "reason": "mended"}
    refused = await operator.post("/dead-letters/discard", **fields)
    assert (refused.status, "needs the role admin" in refused.text) == (403, True)
    assert (await operator.post("/dead-letters/replay", **fields)).status == 200
    assert await asked_for(watch) == [(17, "replay", "thabo", "mended")]


async def test_an_action_needs_a_reason(watch: Watch, admin: Somebody) -> None:
    await watch.hears(letter(17))
    csrf = (await admin.see("/")).csrf
    named = {"service": "payment", "parked_id": "17"}
    for path, fields in (("replay", named), ("discard", named), ("replay", CAUSE)):
        for reason in ("", "   ", "x" * 501):
            seen = await admin.post(f"/dead-letters/{path}", csrf=csrf, reason=reason, **fields)
            assert seen.status == 422
            assert "Say why" in seen.text
            assert [attrs for _, attrs in seen.elements if "aria-invalid" in attrs]
    assert await asked_for(watch) == []


async def test_a_message_is_replayed_once_with_its_true_outcome(
    watch: Watch, admin: Somebody
) -> None:
    parked = letter(17)
    await watch.hears(parked)
    page = await admin.see("/dead-letters/payment/17")
    fields = {"csrf": page.csrf, "service": "payment", "parked_id": "17", "reason": "mended"}
    first = await admin.post("/dead-letters/replay", **fields)
    assert first.status == 200
    assert "no answer yet" in first.text
    assert "0 of 1 known" in first.text
    again = await admin.post("/dead-letters/replay", **fields)
    assert "somebody has asked already" in again.text
    assert await asked_for(watch) == [(17, "replay", "naledi", "mended")]

    (poll,) = {attrs["hx-get"] for _, attrs in first.elements if "hx-get" in attrs}
    operation = await watch.owner.fetchval("SELECT id FROM operations")
    ids = {"service", "parked_id", "source_topic", "source_partition", "source_key"}
    answer = OperationAnswered(**parked.model_dump(include=ids), operation_id=operation)
    failed = change(parked, 3, "parked", attempts=2, operation_id=operation)
    await watch.hears(answer, failed)
    outcome = await admin.see((poll or "").removeprefix("/console"))
    assert "parked again" in outcome.text
    assert "1 of 1 known" in outcome.text
    assert not [attrs for _, attrs in outcome.elements if "hx-trigger" in attrs]
    assert "parked again" in (await admin.see("/dead-letters/payment/17")).text


async def test_a_message_is_discarded_with_name_and_reason(watch: Watch, admin: Somebody) -> None:
    await watch.hears(letter(17))
    page = await admin.see("/dead-letters/payment/17")
    fields = {"service": "payment", "parked_id": "17", "reason": " sent by a test "}
    assert (await admin.post("/dead-letters/discard", csrf=page.csrf, **fields)).status == 200
    assert await asked_for(watch) == [(17, "discard", "naledi", "sent by a test")]


@pytest.mark.parametrize(
    ("state", "operation"),
    [
        *(("waiting", "replay"), ("replay", "replay")),  # its turn comes after the ones before it
        *(("replayed", "replay"), ("replayed", "discard"), ("discarded", "discard")),
    ],
)
async def test_nothing_is_asked_that_a_messages_state_forbids(
    watch: Watch, admin: Somebody, state: str, operation: str
) -> None:
    parked = letter(17)
    await watch.hears(parked, change(parked, 2, state))
    page = await admin.see("/dead-letters/payment/17")
    fields = {"csrf": page.csrf, "service": "payment", "parked_id": "17", "reason": "a try"}
    told = await admin.post(f"/dead-letters/{operation}", **fields)
    assert f"it is {state}" in told.text
    assert await asked_for(watch) == []


async def test_a_cause_is_replayed_in_order_and_not_all_at_once(
    watch: Watch, admin: Somebody
) -> None:
    others = [letter(1000), letter(1001, state="waiting"), letter(1002, reason="another cause")]
    await watch.hears(*(letter(number) for number in range(1, AT_ONCE + 6)), others[2])
    csrf = (await admin.see("/")).csrf
    seen = await admin.post("/dead-letters/replay", csrf=csrf, reason="mended", **CAUSE)
    assert seen.status == 200
    assert "5 more of this cause are parked" in seen.text
    assert [row[0] for row in await asked_for(watch)] == list(range(1, AT_ONCE + 1))


async def test_a_cause_is_never_discarded_as_a_whole(watch: Watch, admin: Somebody) -> None:
    await watch.hears(letter(17))
    csrf = (await admin.see("/")).csrf
    seen = await admin.post("/dead-letters/discard", csrf=csrf, reason="tidy", **CAUSE)
    assert seen.status == 400
    assert await asked_for(watch) == []


async def test_every_message_of_a_cause_is_on_one_page_only(watch: Watch, viewer: Somebody) -> None:
    await watch.hears(*(letter(number) for number in range(1, 121)))
    found, address = [], f"/dead-letters/cause?{urlencode(CAUSE)}"
    while address:
        seen = await viewer.see(address)
        found += [
            int(link.rpartition("/")[2]) for link in seen.links if "/dead-letters/payment/" in link
        ]
        address = next((link for link in seen.links if "after=" in link), "")
        address = address.removeprefix("/console")
    assert found == list(range(1, 121))
