"""What a customer reads, and what nobody may read: no servers."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from services.notification.rendering import BadAddress, message
from services.notification.rules import Kind
from services.notification.settings import NotificationSettings
from services.notification.smtp import without_address
from services.notification.store import QueuedMail
from tests.notification.orders import now

ORDER = UUID("0190a3b2-7c4d-7e8f-9a0b-00000000006d")
SETTINGS = NotificationSettings(
    database_url="postgresql://",
    kafka_bootstrap_servers="nobody:1",
    smtp_host="-",
    mail_from="shop@example.com",
    shop_name="Frames & Co",
    order_url="https://shop.example.com/orders/{order_id}",
)


def mail(kind: Kind = Kind.ORDER_CONFIRMED, email: str = "anna@example.com", **facts: Any) -> Any:
    items = [{"name": "Karoo <at> dawn", "quantity": 2, "price": "R240.00"}]
    queued = QueuedMail(
        order_id=ORDER,
        kind=kind,
        number=2,
        facts={"items": items, "total": "R240.00"} | facts,
        email=email,
        news_at=now(),
        attempts=1,
        lease_token=uuid4(),
    )
    return message(queued, SETTINGS)


CASES = [
    (Kind.ORDER_CONFIRMED, {}, "Your order 0000006D is confirmed"),
    (Kind.STATUS_CHANGED, {"status": "processing"}, "Your order 0000006D is being prepared"),
    (Kind.STATUS_CHANGED, {"status": "shipped"}, "Your order 0000006D is on its way"),
    (Kind.STATUS_CHANGED, {"status": "delivered"}, "Your order 0000006D has been delivered"),
    (
        Kind.STATUS_CHANGED,
        {"status": "cancelled", "reason": "<b>no</b>"},
        "Your order 0000006D is cancelled",
    ),
    (Kind.PAYMENT_FAILED, {}, "The payment of your order 0000006D failed"),
    (
        Kind.REFUND_MADE,
        {"amount": "R50.00", "in_full": False},
        "A refund of R50.00 for your order 0000006D",
    ),
    (
        Kind.LATE_PAYMENT_RETURNED,
        {"amount": "R240.00", "in_full": True},
        "Your payment of R240.00 goes back: order 0000006D was cancelled",
    ),
]


@pytest.mark.parametrize(("kind", "facts", "subject"), CASES, ids=[case[2] for case in CASES])
def test_text_and_html_say_the_same(kind: Kind, facts: dict[str, Any], subject: str) -> None:
    made = mail(kind, **facts)
    assert made["Subject"] == subject
    text, html = (made.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "2 x Karoo <at> dawn: R240.00" in text
    assert "Karoo &lt;at&gt; dawn" in html
    assert "Frames &amp; Co" in html
    assert "<b>no" not in html
    for part in (text, html):
        assert str(ORDER) in part
        assert f"https://shop.example.com/orders/{ORDER}" in part
        assert str(facts.get("amount", "R240.00")) in part


def test_the_same_mail_has_the_same_id_and_mails_of_an_order_are_one_thread() -> None:
    once, twice, other = mail(), mail(), mail(Kind.PAYMENT_FAILED)
    assert once["Message-ID"] == twice["Message-ID"] == f"<{ORDER}.order_confirmed.2@example.com>"
    assert other["Message-ID"] != once["Message-ID"]
    assert other["References"] == once["References"]


@pytest.mark.parametrize(
    "address", ["anna", "anna@", "@example.com", "a@b@c", "a b@example.com", "ü@b.de"]
)
def test_what_is_no_address_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(BadAddress) as raised:
        mail(email=address)
    assert str(raised.value) == "not an address that mail can be sent to"


def test_a_domain_beyond_ascii_is_written_as_servers_know_it() -> None:
    assert str(mail(email="anna@exämple.com")["To"]) == "anna@xn--exmple-cua.com"


def test_reasons_hold_no_address() -> None:
    said = "550 5.1.1 <Anna.X@example.com>: user anna.x\r\nunknown; ask root@mx.example.com"
    assert without_address(said, "anna.x@example.com") == (
        "550 5.1.1 <[address]>: user [address] unknown; ask [address]"
    )
