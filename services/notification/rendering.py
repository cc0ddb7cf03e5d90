"""Mails as customers see them: templates of the same name as the kind, in text and HTML."""

from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from services.notification.settings import NotificationSettings
from services.notification.store import QueuedMail

_TEMPLATES: Final = Environment(
    loader=PackageLoader("services.notification"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_POLICY: Final = SMTP.clone(max_line_length=200, cte_type="7bit")
"""Any server takes it, and Message-ID stays in one line: not every mail program unfolds it."""


class BadAddress(ValueError):  # noqa: N818  # the name says it
    """No mail can be addressed so. Does not repeat the address."""


class NoFacts(ValueError):  # noqa: N818  # the name says it
    """Nothing is stored that the mail could say."""


def message(mail: QueuedMail, settings: NotificationSettings) -> EmailMessage:
    """The mail, ready to send. The same mail has the same Message-ID each time, so that whoever
    gets it twice can see one; all mails of an order are one thread.

    Raises:
        BadAddress: the contact is not an address.
        NoFacts: what the template says is not stored.
    """
    if mail.facts is None:
        raise NoFacts("what the mail says is not stored, or cannot be read")
    domain = settings.mail_from.rpartition("@")[2]
    facts = mail.facts | {
        "order_id": str(mail.order_id),
        "short_id": mail.order_id.hex[-8:].upper(),
        "shop": settings.shop_name,
        "order_url": settings.order_url.replace("{order_id}", str(mail.order_id)),
    }
    # A text template begins with the subject and an empty line.
    subject, _, text = _TEMPLATES.get_template(f"{mail.kind}.txt").render(facts).partition("\n\n")
    email = EmailMessage(_POLICY)
    email["From"] = Address(settings.shop_name, addr_spec=settings.mail_from)
    email["To"] = _address(mail.email)
    email["Subject"] = subject.strip()
    email["Date"] = formatdate(mail.news_at.timestamp())
    email["Message-ID"] = f"<{mail.order_id}.{mail.kind}.{mail.number}@{domain}>"
    email["References"] = f"<{mail.order_id}@{domain}>"
    email["Auto-Submitted"] = "auto-generated"
    email.set_content(text)
    email.add_alternative(
        _TEMPLATES.get_template(f"{mail.kind}.html").render(facts), subtype="html"
    )
    return email


def _address(text: str) -> Address:
    name, _, domain = text.rpartition("@")
    try:
        # Names beyond ASCII before the @ need SMTPUTF8 all the way, which few servers speak.
        address = Address(addr_spec=f"{name}@{domain.encode('idna').decode()}")
    except (MessageError, ValueError, IndexError):
        # What the email package raises quotes the address.
        raise BadAddress("not an address that mail can be sent to") from None
    if not address.username or not address.domain:
        raise BadAddress("not an address that mail can be sent to")
    return address
