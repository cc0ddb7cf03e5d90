"""Overview, sagas and audit: what needs a person comes first, and a broken audit shows."""

from contracts.message import new_message_id
from services.kit.work import utc_now
from tests.ops.conftest import Watch, history
from tests.ops.console.conftest import Somebody
from tests.ops.test_observing import letter
from tests.ops.test_sagas import waits


async def test_stuck_orders_come_first_with_whose_answer_is_missing(
    watch: Watch, viewer: Somebody
) -> None:
    old, fresh = history(versions=1)[0], history(versions=1)[0]
    fresh = fresh.model_copy(update={"at": utc_now()})
    await watch.hears(fresh, old, letter(17, source_key=str(old.order_id)))
    seen = await viewer.see("/sagas")
    orders = [link for link in seen.links if "/console/orders/" in link]
    assert orders == [f"/console/orders/{each.order_id}" for each in (old, fresh)]
    assert "1 of 2 have waited longer" in seen.text
    assert "inventory: StockReserved or StockRejected" in seen.text
    other = await viewer.see("/sagas", state="refunding")
    assert "No order waits" in other.text
    part = await viewer.see("/sagas", part="true")
    assert str(old.order_id) in part.text
    assert "<html" not in part.answer.text


async def test_an_order_that_cannot_be_advanced_is_shown_with_its_reason(
    watch: Watch, viewer: Somebody, operator: Somebody
) -> None:
    placed, confirmed = history(versions=2)
    reason = "Contradiction: the status 'refunded' does not fit the saga state 'confirmed'"
    await watch.hears(placed, confirmed, waits(confirmed, 0, stuck_reason=reason))
    for page in ("/", "/sagas", f"/sagas/{placed.order_id}", f"/orders/{placed.order_id}"):
        assert reason in (await viewer.see(page)).text, page
    assert (
        "1 of 1 have waited longer than 60 s or cannot be advanced"
        in (await viewer.see("/sagas")).text
    )
    assert reason not in (await viewer.see("/sagas", state="reserving")).text
    assert "Retry now" in (await operator.see(f"/sagas/{placed.order_id}")).text


async def test_the_overview_counts_what_needs_a_person(watch: Watch, viewer: Somebody) -> None:
    quiet = await viewer.see("/")
    assert "No order is stuck" in quiet.text
    assert "Nothing is parked" in quiet.text
    parked = letter(1)
    behind = letter(3, state="waiting", source_key=parked.source_key)
    await watch.hears(history(versions=1)[0], parked, letter(2), behind)
    for page in ("/", "/overview/now"):
        seen = await viewer.see(page)
        assert "Stuck orders 1" in seen.text
        assert "Parked messages 2 of 1 cause, 1 waiting behind" in seen.text


async def test_a_lag_that_cannot_be_asked_for_is_said(viewer: Somebody) -> None:
    seen = await viewer.see("/overview/lag")
    assert seen.status == 200
    assert "Kafka does not answer" in seen.text


async def test_the_audit_is_proven_and_a_change_shows(watch: Watch, viewer: Somebody) -> None:
    await watch.hears(*history())
    seen = await viewer.see("/audit")
    assert "1 chain with 3 records" in seen.text
    assert "nothing is missing: 3 records in 1 chain" in (await viewer.see("/audit/verdict")).text
    await watch.tamper("UPDATE audit_records SET changed_by = 'nobody' WHERE position = 2")
    broken = await viewer.see("/audit/verdict")
    assert "not as it was written: 1 broken" in broken.text
    assert "altered" in broken.text


async def test_every_audit_record_is_on_one_page_only(watch: Watch, viewer: Somebody) -> None:
    many = [each for _ in range(40) for each in history(new_message_id())]
    await watch.hears(*many)
    rows, address = 0, "/audit"
    while address:
        seen = await viewer.see(address)
        rows += sum("audit" not in (link or "") and "/orders/" in link for link in seen.links)
        address = next((link for link in seen.links if "before=" in link), "")
        address = address.removeprefix("/console")
    assert rows == len(many)
