"""Mails on real servers: each once, whatever is doubled, late, away or killed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest

from contracts.customer import ContactGiven
from deploy.local.stack import LocalStack
from tests.kit.conftest import eventually
from tests.looking import rows
from tests.messages import outgoing
from tests.notification.conftest import IMPATIENT, Post, contact
from tests.notification.orders import (
    MAILS_OF_BOUGHT,
    MAILS_OF_PAID_TOO_LATE,
    TOTAL,
    bought,
    order,
    paid_too_late,
)

CONFIRMED = ["pending", "confirmed"]
CONNECTIONS = 8
"""Mails sent at once, unless the settings say otherwise."""


@pytest.fixture(scope="module", autouse=True)
def nobody_in_logs(notification: LocalStack) -> Iterator[None]:
    """After all of this module, no log knows an address: every one has this word in it."""
    yield
    logs = list(notification.log("notification").parent.glob("*.log"))
    assert {log.stem for log in logs} >= {"notification", "smtp"}
    for log in logs:
        assert "canary" not in log.read_text(errors="replace"), log.name


async def test_each_mail_comes_once_although_messages_are_doubled(post: Post) -> None:
    well, late = uuid4(), uuid4()
    await post.hear(contact(well, "canary.w@example.com"), contact(late, "canary.l@example.com"))
    await post.hear(*bought(well), *paid_too_late(late), twice=True)
    await post.get(well, MAILS_OF_BOUGHT)
    await post.get(late, MAILS_OF_PAID_TOO_LATE)
    # Again, when all has been sent; what follows them shows that they have been heard.
    end = ["pending", "confirmed", "processing", "shipped", "refunded", "archived"]
    bank_sent_it_back = order(well, 8, end, "paid")
    await post.hear(*bought(well), bank_sent_it_back, order(well, 9, end, "refunded", TOTAL))
    await post.get(well, [*MAILS_OF_BOUGHT, "refund_made.9"])
    (confirmed,) = [mail for mail in await post.mails(well) if "confirmed" in mail["subject"]]
    assert confirmed["to"] == ["canary.w@example.com"]
    assert "2 x Karoo <at> dawn: R240.00" in confirmed["text"]


async def test_a_mail_waits_for_its_contact(post: Post) -> None:
    order_id = uuid4()
    await post.hear(order(order_id, 2, CONFIRMED, "paid"))
    await post.states(order_id, {"queued": 1})
    assert await post.mails(order_id) == []
    await post.hear(contact(order_id, "canary.waits@example.com"))
    await post.get(order_id, ["order_confirmed.2"])


async def test_the_mail_server_goes_away_and_comes_back(post: Post) -> None:
    order_id = uuid4()
    await asyncio.to_thread(post.servers.stop, "smtp")
    await post.hear(contact(order_id, "canary.away@example.com"))
    await post.hear(order(order_id, 2, CONFIRMED, "paid"))

    async def why() -> str | None:
        query = "SELECT reason FROM mails WHERE order_id = $1"
        found = await rows(post.servers, "notification", query, order_id)
        return found[0]["reason"] if found else None

    away = "cannot reach the mail server"
    await eventually(why, lambda seen: seen is not None and seen.startswith(away))
    await asyncio.to_thread(post.servers.start, "smtp")
    await post.get(order_id, ["order_confirmed.2"])


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("refused.canary@example.com", "550 5.1.1 <[address]>: no such user here"),
        ("canary@@example.com", "not an address that mail can be sent to"),
    ],
)
async def test_a_bad_address_is_parked_and_the_partition_goes_on(
    post: Post, address: str, reason: str
) -> None:
    bad, good = uuid4(), uuid4()
    await post.hear(contact(bad, address), contact(good, "canary.good@example.com"))
    await post.hear(order(bad, 2, CONFIRMED, "paid"), order(good, 2, CONFIRMED, "paid"))
    await post.states(bad, {"parked": 1})
    await post.get(good, ["order_confirmed.2"])
    query = "SELECT reason FROM mails WHERE order_id = $1"
    (parked,) = await rows(post.servers, "notification", query, bad)
    assert parked["reason"] == reason
    # The address was corrected, and somebody lets the mail go, as the manual says.
    await post.hear(contact(bad, "canary.better@example.com"))

    async def known() -> str:
        query = "SELECT email FROM contacts WHERE order_id = $1"
        (row,) = await rows(post.servers, "notification", query, bad)
        return str(row["email"])

    await eventually(known, lambda seen: seen == "canary.better@example.com")
    retry = "UPDATE mails SET state = 'queued', next_attempt_at = now() WHERE order_id = $1"
    await rows(post.servers, "notification", retry, bad)
    await post.get(bad, ["order_confirmed.2"])


async def test_a_mail_that_a_person_queued_again_without_its_facts_stops_no_other(
    post: Post,
) -> None:
    """The facts of a mail that was sent are deleted, so nothing is left to say."""
    emptied, good = uuid4(), uuid4()
    await post.hear(contact(emptied, "canary.e@example.com"), contact(good, "canary.g@example.com"))
    await post.hear(order(emptied, 2, CONFIRMED, "paid"))
    await post.get(emptied, ["order_confirmed.2"])
    again = """
        UPDATE mails SET state = 'queued', next_attempt_at = now(), finished_at = NULL
         WHERE order_id = $1
        """
    await rows(post.servers, "notification", again, emptied)
    await post.hear(order(good, 2, CONFIRMED, "paid"))
    await post.get(good, ["order_confirmed.2"])
    await post.states(emptied, {"parked": 1})
    (parked,) = await rows(
        post.servers, "notification", "SELECT reason FROM mails WHERE order_id = $1", emptied
    )
    assert parked["reason"] == "what the mail says is not stored, or cannot be read"


async def test_a_kind_of_mail_of_a_newer_release_is_left_to_it(post: Post) -> None:
    """Its migration has allowed the kind while replicas of this release are still at work."""
    newer, good = uuid4(), uuid4()
    await post.hear(contact(newer, "canary.n@example.com"), contact(good, "canary.g@example.com"))

    async def contacts() -> int:
        query = "SELECT FROM contacts WHERE order_id = ANY($1)"
        return len(await rows(post.servers, "notification", query, [newer, good]))

    await eventually(contacts, lambda seen: seen == 2)
    await rows(
        post.servers, "notification", "ALTER TABLE mails DROP CONSTRAINT IF EXISTS valid_mail_kind"
    )
    insert = """
        INSERT INTO mails (order_id, kind, number, facts, news_at)
        VALUES ($1, 'parcel_delayed', 1, '{}', now())
        """
    await rows(post.servers, "notification", insert, newer)
    await post.hear(order(good, 2, CONFIRMED, "paid"))
    await post.get(good, ["order_confirmed.2"])
    query = "SELECT state, attempts FROM mails WHERE order_id = $1"
    (left,) = await rows(post.servers, "notification", query, newer)
    assert (left["state"], left["attempts"]) == ("queued", 0)


async def test_mails_that_hang_are_tried_after_those_that_were_not_tried_yet(post: Post) -> None:
    """Addresses of which the mail server says nothing until the time-out: they are due again and
    again, and a new mail waits for one time-out at most."""
    hanging = [uuid4() for _ in range(10 * CONNECTIONS)]
    address = "hanging.canary.{}@example.com"
    await post.hear(*[contact(each, address.format(each.hex)) for each in hanging])
    await post.hear(*[order(each, 2, CONFIRMED, "paid") for each in hanging])

    async def tried() -> int:
        query = "SELECT FROM mails WHERE order_id = ANY($1) AND attempts > 0"
        return len(await rows(post.servers, "notification", query, hanging))

    await eventually(tried, lambda seen: seen == len(hanging), seconds=90)
    due = "UPDATE mails SET next_attempt_at = now() - interval '1 hour' WHERE order_id = ANY($1)"
    await rows(post.servers, "notification", due, hanging)
    attempts = "SELECT sum(attempts) AS sum FROM mails WHERE order_id = ANY($1)"
    (before,) = await rows(post.servers, "notification", attempts, hanging)
    good = uuid4()
    await post.hear(contact(good, "canary.good@example.com"), order(good, 2, CONFIRMED, "paid"))
    await post.get(good, ["order_confirmed.2"])
    (after,) = await rows(post.servers, "notification", attempts, hanging)
    # Those under way when it came, and what its neighbours' free connections took meanwhile.
    assert after["sum"] - before["sum"] < len(hanging) / 2
    assert await rows(
        post.servers,
        "notification",
        "DELETE FROM mails WHERE order_id = ANY($1) RETURNING order_id",
        hanging,
    )


async def test_a_crash_between_sending_and_recording_doubles_once_under_one_id(post: Post) -> None:
    order_id, servers = uuid4(), post.servers
    await asyncio.to_thread(servers.stop, "notification")
    await asyncio.to_thread(
        servers.start, "notification", env=IMPATIENT | {"CRASH_AT": "after-mail"}
    )
    await post.hear(contact(order_id, "canary.crash@example.com"))
    await post.hear(order(order_id, 2, CONFIRMED, "paid"))

    async def alive() -> bool:
        return servers.process("notification").pid is not None

    await eventually(alive, lambda seen: not seen)
    await asyncio.to_thread(servers.start, "notification", env=IMPATIENT)
    await post.states(order_id, {"sent": 1})
    assert await post.names(order_id) == {"order_confirmed.2": 2}


async def test_a_parked_contact_is_masked_when_it_is_shown(post: Post) -> None:
    order_id = uuid4()
    broken = outgoing(contact(order_id, "canary.parked@example.com"))
    await post.publish(broken._replace(payload=broken.payload.replace('"customer_id"', '"x"')))
    query = "SELECT id, reason FROM parked_messages WHERE key = $1"

    async def parked() -> list[object]:
        return list(await rows(post.servers, "notification", query, str(order_id)))

    ((parked_id, reason),) = await eventually(parked, bool)
    assert "canary" not in reason
    assert "canary" not in show(post, parked_id)
    assert "canary.parked@example.com" in show(post, parked_id, "--personal")
    assert ContactGiven.wire_type in show(post, parked_id)


def show(post: Post, parked_id: int, *options: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "services.kit.parked", "show", str(parked_id), *options],
        env=os.environ | {"DATABASE_URL": post.servers.postgres["notification"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
