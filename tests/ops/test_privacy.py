"""Personal data and ops: no field of it gets here, and what people type is not shown as it is."""

from datetime import timedelta
from uuid import UUID, uuid4

from contracts.customer import ContactGiven, PostalAddress
from contracts.inventory import AdjustStock, ProductCommandDone, RestoreStock
from contracts.message import new_message_id
from contracts.order import CommandRefused, OrderStatus, Problem
from contracts.payment import RefundFailed
from contracts.registry import MESSAGES
from deploy.local.tokens import token
from services.kit.work import utc_now
from services.ops import adjusting, bulk, parked
from services.ops.app import OBSERVED
from services.ops.bulk import Action
from services.ops.store.bulks import Bulk
from services.ops.store.timeline import forget_messages
from tests.messages import outgoing
from tests.ops.conftest import Watch, history
from tests.ops.console.conftest import SECRET, Somebody, console, updated, visitor
from tests.ops.test_observing import change, letter

__all__ = ["console", "visitor"]

PERSONAL = {*ContactGiven.model_fields, *PostalAddress.model_fields} - {
    *("order_id", "customer_id"),  # ids, which travel everywhere
    "name",  # elsewhere a product's
}
CONTACT = ContactGiven(
    order_id=uuid4(),
    customer_id="anna",
    email="canary@example.com",
    shipping_address=PostalAddress(
        name="Canary", line1="1 Canary Row", city="Canary", postal_code="canary", country="ZA"
    ),
)
TYPED = "call the canary: canary@example.com or +27 82 555 01 99"
"""What a customer may write into a reason; the first canary is a word like others."""


async def tables_with(watch: Watch, text: str) -> set[str]:
    """The tables that hold it in any column, also in one of bytes."""
    names = await watch.owner.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    wanted = [f"%{text}%", f"%{text.encode().hex()}%"]
    return {
        name
        for (name,) in names
        if await watch.owner.fetchval(
            f'SELECT 1 FROM "{name}" AS t WHERE t::text ILIKE ANY($1) LIMIT 1', wanted
        )
    }


async def test_neither_topics_nor_tables_of_ops_have_a_personal_field(watch: Watch) -> None:
    assert {"email", "line1", "postal_code"} <= PERSONAL
    heard = [message for message in MESSAGES.values() if {*message.topics()} & {*OBSERVED}]
    assert (len(heard) > 30, ContactGiven in heard) == (True, False)
    for message in heard:
        fields = str(message.model_json_schema())
        assert not [name for name in PERSONAL if f"'{name}'" in fields], message.__name__
    columns = await watch.owner.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    assert not PERSONAL & {name for (name,) in columns}


async def test_nothing_is_kept_of_a_contact_that_came_to_a_wrong_topic(watch: Watch) -> None:
    misled = outgoing(CONTACT)
    for topic in ("order.events", "audit.order", "inventory.catalog", "order.dead-letters"):
        await watch.hears(watch.record(misled, topic=topic))
        await watch.hears(watch.record(misled, topic=topic, value=b'{"email": "canary@example.'))
    noted = await watch.owner.fetchval("SELECT count(*) FROM messages")
    assert noted > 0
    assert await tables_with(watch, "canary") == set()


async def test_addresses_that_people_type_are_shown_to_nobody(
    watch: Watch, visitor: Somebody
) -> None:
    order_id = uuid4()
    audit = [each.model_copy(update={"reason": TYPED, "admin_notes": TYPED})
             for each in history(order_id, versions=2)]  # fmt: skip
    await watch.hears(*audit, updated(order_id, version=2, status="confirmed"))
    await watch.hears(letter(17, source_key=str(order_id), reason=TYPED))
    # The audit keeps what was said, word for word: its hashes are over that.
    assert await tables_with(watch, "canary@example.com") == {"audit_records"}
    api = ["", "/trace"]
    pages = [f"/v1/orders/{order_id}{part}" for part in api]
    pages += ["/v1/orders", "/v1/audit", "/v1/dead-letters", "/v1/dead-letters/payment/17"]
    pages += [f"/console{part}" for part in ("/", f"/orders/{order_id}", "/orders", "/audit")]
    pages += ["/console/dead-letters", "/console/dead-letters/payment/17"]
    await visitor.sign_in(token(SECRET, "naledi", "admin"))
    headers = {"Authorization": f"Bearer {token(SECRET, 'naledi', 'admin')}"}
    shown = ""
    for page in pages:
        answer = await visitor.client.get(page, headers=headers)
        assert answer.status_code == 200, page
        assert "canary@" not in answer.text, page
        assert "825550199" not in answer.text.replace(" ", ""), page
        shown += answer.text
    assert "call the canary: ***" in shown


async def test_what_staff_typed_is_masked_in_the_trace_as_well(
    watch: Watch, visitor: Somebody
) -> None:
    """What they asked to be done with a message is shown there as the message that was sent."""
    order_id = uuid4()
    await watch.hears(*history(order_id), letter(17, source_key=str(order_id)))
    async with watch.work.begin() as work:
        await parked.ask(work, "replay", [("payment", 17)], by="naledi@example.com", reason=TYPED)
    headers = {"Authorization": f"Bearer {token(SECRET, 'vusi', 'viewer')}"}
    answer = await visitor.client.get(f"/v1/orders/{order_id}/trace", headers=headers)
    (asked,) = [row for row in answer.json() if row["type"] == "operations.replay-parked.v1"]
    assert asked["summary"] == (
        "parked_id 17, requested_by '***', reason 'call the canary: *** or ***'"
    )


async def test_what_programs_quote_of_people_is_kept_masked(watch: Watch) -> None:
    """Why a command was refused, why money did not go back, why a message is parked again."""
    refused, failed = new_message_id(), new_message_id()
    one, product, adjustment = letter(17), uuid4(), new_message_id()
    await watch.hears(updated(refused), updated(failed, payment="paid"), one)
    async with watch.work.begin() as work:
        for order_id, action in ((refused, Action.CANCEL), (failed, Action.REFUND)):
            wanted = Bulk(new_message_id(), action, None, "naledi", "recall")
            await bulk.ask(work, wanted, [order_id])
        command = AdjustStock(product_id=product, requested_by="naledi", delta=5, reason="found")
        await adjusting.ask(work, adjustment, command)
        (asked,) = await parked.ask(work, "replay", [("payment", 17)], by="naledi", reason="mended")
    commands: dict[UUID, UUID] = {
        row["order_id"]: row["command_id"]
        for row in await watch.owner.fetch("SELECT order_id, command_id FROM bulk_orders")
    }
    no = CommandRefused(
        order_id=refused,
        command="order.cancel-order.v1",
        requested_by="naledi",
        reason=TYPED,
        status=OrderStatus.SHIPPED,
    )
    money = RefundFailed(
        order_id=failed,
        refund_id=commands[failed],
        message=TYPED,
        amount_refunded=0,
        payment_version=3,
    )
    stock = ProductCommandDone(
        product_id=product,
        command_id=adjustment,
        problem=Problem(code="conflict", message=TYPED),
    )
    again = {"attempts": 2, "operation_id": asked.operation_id, "reason": TYPED}
    await watch.hears(
        outgoing(no)._replace(causation_id=str(commands[refused])),
        money,
        stock,
        change(one, 3, "parked", **again),
        change(letter(18), 2, "parked", reason=TYPED),
    )
    assert await tables_with(watch, "call the canary") == {
        *("bulk_orders", "letters", "messages", "operations", "stock_adjustments"),
    }
    assert await tables_with(watch, "canary@") == set()
    assert await tables_with(watch, "555 01 99") == set()


async def test_what_cannot_be_read_is_quoted_masked(watch: Watch) -> None:
    unknown = outgoing(RestoreStock(order_id=uuid4(), reason="x"))._replace(type=TYPED)
    await watch.hears(watch.record(unknown, topic="inventory.commands"))
    told = await watch.owner.fetchval("SELECT summary FROM messages")
    assert "does not accept call the canary: *** or *** on inventory.commands" in told


async def test_the_timeline_of_what_is_long_over_is_forgotten(watch: Watch) -> None:
    old, new = (outgoing(RestoreStock(order_id=uuid4(), reason="x")) for _ in range(2))
    now = utc_now()
    await watch.hears(old._replace(time=(now - timedelta(days=2)).isoformat()), new)
    assert await forget_messages(watch.owner, now - timedelta(days=1), 10) == 1
    assert await forget_messages(watch.owner, now - timedelta(days=1), 10) == 0
    assert str(await watch.owner.fetchval("SELECT message_id FROM messages")) == new.message_id
