"""What Stripe told of an order: how each event came, and what it changed."""

from uuid import uuid4

from contracts.audit import PaymentAudited
from contracts.message import new_message_id
from contracts.payment import CheckPayment
from contracts.stripe import StripeEventReceived, StripeMetadata, StripeObject
from services.kit.auth import Caller
from services.ops.app import build
from services.ops.ops import Ops
from services.ops.routes.stripe import list_events
from services.ops.settings import OpsSettings
from tests.flows.conftest import anna, client, paid, product, staff
from tests.flows.people import Person
from tests.kit.conftest import eventually
from tests.messages import outgoing
from tests.ops.cli import Cli, Ended
from tests.ops.conftest import Watch, history
from tests.ops.stock import NOON

__all__ = ["anna", "client", "product", "staff"]

SETTINGS = OpsSettings(
    database_url="postgresql://",
    kafka_bootstrap_servers="nobody:1",
    jwt_secret="of no use here" * 3,
)


def event(event_id: str, event_type: str, order_id: str) -> StripeEventReceived:
    return StripeEventReceived(
        event_id=event_id,
        event_type=event_type,
        created=int(NOON.timestamp()),
        livemode=False,
        object=StripeObject(
            id="pi_1",
            object="payment_intent",
            status="succeeded",
            metadata=StripeMetadata(order_id=order_id),
        ),
    )


async def test_an_event_says_how_it_came_and_what_it_changed(watch: Watch) -> None:
    order_id = uuid4()
    told = event("evt_1", "payment_intent.succeeded", str(order_id))
    again = event("evt_2", "payment_intent.succeeded", str(order_id))
    change = PaymentAudited(
        order_id=order_id,
        version=1,
        action="payment_intent.succeeded",
        old_status="open",
        new_status="succeeded",
        payment_intent_id="pi_1",
        amount=100,
        currency="eur",
        amount_received=100,
        amount_refunded=0,
        changed_by="stripe:evt_1",
        reason=None,
        at=NOON,
    )
    webhook = outgoing(told)._replace(source="gateway", time="2026-11-24T12:00:01+00:00")
    found = outgoing(again)._replace(source="payment", time="2026-11-24T12:00:02+00:00")
    await watch.hears(*history(order_id), webhook, found)
    await watch.hears(outgoing(change)._replace(causation_id=webhook.message_id))
    service, _ = build(SETTINGS)
    service.pool = watch.pool
    rows = await list_events(Ops(SETTINGS, service), Caller("vusi"), str(order_id))
    assert [(row["event_id"], row["came_by"], row["changed"]) for row in rows] == [
        ("evt_1", "webhook", "open -> succeeded"),
        ("evt_2", "list", None),
    ]


async def test_the_events_of_a_paid_order_at_the_command_line(
    cli: Cli, anna: Person, product: str
) -> None:
    order = await paid(anna, product)

    async def look() -> Ended:
        return await cli.run("stripe", "events", order["order_id"], role="viewer")

    seen = await eventually(look, lambda ended: "payment_intent.succeeded" in ended.out)
    assert seen.code == 0
    assert "webhook" in seen.out
    by_intent = await cli.run("stripe", "events", order["payment"]["payment_intent_id"], "--json")
    assert {row["event_type"] for row in by_intent.json} >= {"payment_intent.succeeded"}
    assert (await cli.run("stripe", "events", str(uuid4()))).code == 3


async def test_stripe_is_asked_about_one_order(cli: Cli, anna: Person, product: str) -> None:
    order = await paid(anna, product)
    ask = ("stripe", "reconcile", order["order_id"], "--reason", "a receipt was shown")

    async def stands() -> Ended:
        return await cli.run(*ask, role="operator")

    told = await eventually(stands, lambda ended: "payment-succeeded" in ended.out)
    assert told.code == 0
    assert f"ops orders trace {order['order_id']} --follow" in told.out

    check_id = str(new_message_id())
    for _ in range(2):
        again = await cli.run(*ask, "--id", check_id, "--json")
        assert again.json["check_id"] == check_id
    entries = (await cli.run("orders", "trace", order["order_id"], "--json")).json
    asked = [entry for entry in entries if entry["type"] == CheckPayment.wire_type]
    assert "naledi" in asked[0]["summary"]
    answers = [entry for entry in entries if entry["causation_id"] == check_id]
    assert len(answers) == 1, "sent twice, it was done once"


async def test_who_cannot_have_stripe_asked_is_told_why(
    cli: Cli, anna: Person, product: str
) -> None:
    order = await paid(anna, product)
    ask = ("stripe", "reconcile", order["order_id"], "--reason", "a receipt was shown")
    looks_only = await cli.run(*ask, role="viewer")
    assert looks_only.code == 4
    assert "operator or admin" in looks_only.err
    assert (await cli.run(*ask[:2], str(uuid4()), *ask[3:])).code == 3
    old = await cli.run(*ask, "--id", "0190a3b2-7c4d-7e8f-9a0b-000000000411")
    assert old.code == 2
    assert "within the last day" in old.err

    refused = await anna.check_out([{"product_id": product, "quantity": 5000}], wait=20)
    listed = (await cli.run("orders", "list", "--status", "cancelled", "--json")).json
    assert refused.status_code == 400
    unpaid = await cli.run("stripe", "reconcile", listed[0]["order_id"], *ask[3:])
    assert unpaid.code == 3
    assert "No PaymentIntent" in unpaid.err
