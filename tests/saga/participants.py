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
    RefundPossible,
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
    refuses: bool = False
    """Stripe refuses refunds for good, e.g. because of an open dispute."""
    refused: set[UUID] = field(default_factory=set)
    lost: int = 0
    """By a dispute."""

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
        left = self.amount - self.refunded - self.lost if self.state == "succeeded" else 0
        wanted = (
            max(0, left - message.settled_outside) if message.amount is None else message.amount
        )
        if message.refund_id not in self.refunds:
            again = message.refund_id in self.refused
            if wanted > left or again or (self.refuses and wanted):
                self.refused.add(message.refund_id)
                self.version += not again
                return self._failed(order_id, message.refund_id, "refused")
            self.refunds.add(message.refund_id)
            self.version += 1
            self.refunded += wanted
        return self._refunded(order_id, message.refund_id)

    def _failed(self, order_id: UUID, refund_id: UUID | None, message: str) -> Message:
        return RefundFailed(
            order_id=order_id,
            refund_id=refund_id,
            message=message,
            final=True,
            amount_refunded=self.refunded,
            amount_lost=self.lost,
            payment_version=self.version,
        )

    def _refunded(self, order_id: UUID, refund_id: UUID | None = None) -> Message:
        partly = self.state == "succeeded" and self.refunded + self.lost < self.amount
        kind = PaymentPartiallyRefunded if partly else PaymentRefunded
        return kind(
            order_id=order_id,
            amount_refunded=self.refunded,
            amount_lost=self.lost,
            refund_id=refund_id,
            payment_version=self.version,
        )

    @property
    def kept(self) -> int:
        return self.amount * (self.state == "succeeded") - self.refunded - self.lost

    def _changes_mind(self, order_id: UUID, rng: random.Random) -> list[Message]:
        """The dashboard refunds all, or Stripe begins or ends to refuse, as with a dispute."""
        if not self.refuses and rng.random() < 0.3:
            self.refunded, self.version = self.amount - self.lost, self.version + 1
            return [self._refunded(order_id)]
        self.refuses, self.version = not self.refuses, self.version + 1
        if self.refuses:
            return []
        if rng.random() < 0.5:
            self.lost = self.kept
            return [self._refunded(order_id)]
        return [RefundPossible(order_id=order_id, message="won", payment_version=self.version)]

    def happens_at_stripe(self, order_id: UUID, rng: random.Random) -> list[Message]:
        """Something that the customer, the bank or a colleague at Stripe's dashboard does."""
        if self.state == "open":
            what = rng.choice(["pay", "pay", "decline", "process", "cancel"])
            if what == "decline":
                return [
                    PaymentFailed(order_id=order_id, payment_intent_id="pi_1", message="Declined.")
                ]
            self.state = {"pay": "succeeded", "process": "processing", "cancel": "canceled"}[what]
        elif self.state == "canceled" and self.amount and rng.random() < 0.05:
            self.state = "succeeded"  # money comes after all
        elif self.state == "processing":
            self.state = rng.choice(["succeeded", "canceled"])
        elif self.refunded and rng.random() < 0.08:
            self.refunded, self.sent_back, self.version = 0, True, self.version + 1
            refunds, self.refunds = self.refunds, set()
            self.refused |= refunds
            return [self._failed(order_id, each, "The bank sent it back.") for each in refunds] or [
                self._failed(order_id, None, "The bank sent it back.")
            ]
        elif self.state == "succeeded" and self.kept and rng.random() < 0.2:
            return self._changes_mind(order_id, rng)
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
