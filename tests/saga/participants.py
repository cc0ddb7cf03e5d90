"""Inventory and payment as the contracts promise them, and a network that keeps no order.

Pure models: they answer every command every time, and remember an undo that came before its do.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from contracts.inventory import (
    CommitStock,
    ReserveStock,
    RestoreStock,
    StockRejected,
    StockReserved,
    StockRestored,
)
from contracts.message import Message
from contracts.order import OrderItem, Problem
from contracts.payment import (
    CancelPayment,
    PaymentCanceled,
    PaymentFailed,
    PaymentIntentCreated,
    PaymentPartiallyRefunded,
    PaymentRefunded,
    PaymentSucceeded,
    PaymentUpdated,
    RefundFailed,
    RefundPayment,
    RequestPayment,
)

PRICE = 1500


@dataclass
class Inventory:
    """One order's stock. `state` is None, held, sold, rejected or restored."""

    has_stock: bool = True
    state: str | None = None
    restorations: int = 0

    def serve(self, message: Message) -> list[Message]:
        match message:
            case ReserveStock():
                if self.state is None:
                    self.state = "held" if self.has_stock else "rejected"
                if self.state in ("held", "sold"):
                    return [self._reserved(message)]
                problem = Problem(code="out_of_stock", message="Product out of stock.")
                return [StockRejected(order_id=message.order_id, problems=(problem,))]
            case CommitStock():
                if self.state == "held":
                    self.state = "sold"
                return []
            case RestoreStock():
                if self.state in ("held", "sold"):
                    self.restorations += 1
                self.state = "restored"
                return [StockRestored(order_id=message.order_id)]
        raise AssertionError(message)

    @staticmethod
    def _reserved(message: ReserveStock) -> StockReserved:
        items = tuple(
            OrderItem(product_id=line.product_id, name="Print", quantity=line.quantity, price=PRICE)
            for line in message.lines
        )
        total = sum(item.quantity * item.price for item in items)
        return StockReserved(order_id=message.order_id, items=items, total=total, currency="zar")


@dataclass
class Payment:
    """One order's money at Stripe. `state` is None, open, processing, succeeded or canceled."""

    state: str | None = None
    amount: int = 0
    refunded: int = 0
    captures: int = 0
    version: int = 1
    sent_back: bool = False
    """The customer's bank refused a refund: only people can help."""
    refunds: set[UUID] = field(default_factory=set)

    def serve(self, message: Message) -> list[Message]:
        order_id = message.order_id  # type: ignore[attr-defined]
        match message:
            case RequestPayment():
                if self.state is None:
                    self.state, self.amount = "open", message.amount
                return [self._answer(order_id)]
            case CancelPayment():
                if self.state in (None, "open"):
                    self.state = "canceled"
                return [self._answer(order_id)]
            case RefundPayment():
                return [self._refund(message)]
        raise AssertionError(message)

    def _answer(self, order_id: UUID) -> Message:
        match self.state:
            case "open":
                return PaymentIntentCreated(
                    order_id=order_id,
                    payment_intent_id="pi_1",
                    client_secret="pi_1_secret",
                    intent_status="requires_payment_method",
                )
            case "processing":
                return PaymentUpdated(
                    order_id=order_id, payment_intent_id="pi_1", intent_status="processing"
                )
            case "succeeded":
                return PaymentSucceeded(
                    order_id=order_id,
                    payment_intent_id="pi_1",
                    amount=self.amount,
                    currency="zar",
                )
        return PaymentCanceled(order_id=order_id, payment_intent_id=None)

    def _refund(self, message: RefundPayment) -> Message:
        order_id = message.order_id
        if self.state in ("open", "processing"):
            return RefundFailed(
                order_id=order_id,
                refund_id=message.refund_id,
                message="open",
                amount_refunded=0,
                payment_version=self.version,
            )
        left = self.amount - self.refunded if self.state == "succeeded" else 0
        if message.refund_id not in self.refunds:
            if (message.amount or 0) > left:
                return RefundFailed(
                    order_id=order_id,
                    refund_id=message.refund_id,
                    message="too much",
                    amount_refunded=self.refunded,
                    payment_version=self.version,
                )
            self.refunds.add(message.refund_id)
            self.version += 1
            self.refunded += left if message.amount is None else message.amount
        return self._refunded(order_id)

    def _refunded(self, order_id: UUID) -> Message:
        partly = self.state == "succeeded" and self.refunded < self.amount
        kind = PaymentPartiallyRefunded if partly else PaymentRefunded
        return kind(order_id=order_id, amount_refunded=self.refunded, payment_version=self.version)

    def happens_at_stripe(self, order_id: UUID, rng: random.Random) -> list[Message]:
        """Something that the customer, the bank or a colleague at Stripe's dashboard does."""
        if self.state == "open":
            what = rng.choice(["pay", "pay", "decline", "process", "cancel"])
            if what == "decline":
                return [
                    PaymentFailed(order_id=order_id, payment_intent_id="pi_1", message="Declined.")
                ]
            self.state = {"pay": "succeeded", "process": "processing", "cancel": "canceled"}[what]
        elif self.state == "processing":
            self.state = rng.choice(["succeeded", "canceled"])
        elif self.refunded and rng.random() < 0.08:
            self.refunded, self.sent_back, self.version = 0, True, self.version + 1
            self.refunds.clear()
            return [
                RefundFailed(
                    order_id=order_id,
                    refund_id=None,
                    message="The bank sent it back.",
                    amount_refunded=0,
                    payment_version=self.version,
                )
            ]
        elif self.state == "succeeded" and self.refunded < self.amount and rng.random() < 0.05:
            self.refunded = self.amount
            self.version += 1
            return [self._refunded(order_id)]
        else:
            return []
        self.captures += self.state == "succeeded"
        return [self._answer(order_id)]


@dataclass
class Network:
    """Delivers what is under way in any order, and some of it twice."""

    rng: random.Random
    under_way: list[Message] = field(default_factory=list)
    delivered: Counter[str] = field(default_factory=Counter)

    def send(self, *messages: Message) -> None:
        self.under_way.extend(messages)
        for message in messages:
            if self.rng.random() < 0.1:
                self.under_way.append(message)

    def take(self) -> Message | None:
        if not self.under_way:
            return None
        message = self.under_way.pop(self.rng.randrange(len(self.under_way)))
        self.delivered[type(message).__name__] += 1
        return message
