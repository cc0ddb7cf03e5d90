"""Contacts and orders: lock, decide, save, and wake the workers that send."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from contracts.customer import ContactGiven
from contracts.message import Message
from contracts.order import CommandRefused, OrderUpdated
from services.kit.messages import Incoming
from services.kit.work import Handler, Work, ignore
from services.notification import store
from services.notification.rules import mails_of, told_after


def handlers(news: timedelta, wake: Callable[[], None]) -> Mapping[type[Message], Handler]:
    """`news`: how old news may be; `wake` is called after a commit that may let mails go."""

    async def keep_contacts(work: Work, batch: list[Incoming[ContactGiven]]) -> None:
        contacts = {item.message.order_id: item.message.email for item in batch}
        await store.save_contacts(work.db, contacts, work.now)
        work.after_commit(wake)

    async def tell_customers(work: Work, batch: list[Incoming[OrderUpdated]]) -> None:
        orders = [item.message for item in batch]
        told = await store.lock_told(work.db, [order.order_id for order in orders])
        mails = [
            mail
            for order in orders
            for mail in mails_of(order, told[order.order_id], work.now - news)
        ]
        await store.save_told(
            work.db,
            {
                order.order_id: (told_after(order, told[order.order_id]), order.updated_at)
                for order in orders
            },
        )
        if mails:
            await store.queue_mails(work.db, mails)
            work.after_commit(wake)

    return {ContactGiven: keep_contacts, OrderUpdated: tell_customers, CommandRefused: ignore}
