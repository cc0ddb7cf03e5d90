"""Personal data and ops: no field of it gets here, and what people type is not shown as it is."""

from uuid import uuid4

from contracts.customer import ContactGiven, PostalAddress
from contracts.registry import MESSAGES
from deploy.local.tokens import token
from services.ops.app import OBSERVED
from tests.messages import outgoing
from tests.ops.conftest import Watch, history
from tests.ops.console.conftest import SECRET, Somebody, console, updated, visitor
from tests.ops.test_observing import letter

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
