"""The checker notices what it is there for: evidence with one thing wrong."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from contracts.audit import InventoryAudited, OrderAudited
from contracts.order import OrderStatus, PaymentStatus
from deploy.verify.evidence import Evidence, Waiting
from deploy.verify.invariants import check_all
from deploy.verify.told import Answer, Told

ORDER: dict[str, Any] = {
    "customer_id": "anna",
    "status": "confirmed",
    "payment_status": "paid",
    "saga_state": "confirmed",
    "version": 1,
    "total": 12000,
    "amount_refunded": 0,
    "amount_lost": 0,
    "amount_settled": None,
    "refused_refund": None,
    "admin_notes": None,
    "wanted": '{"p": 1}',
}
RESERVATION = {"product_id": "p", "quantity": 1, "price": 12000, "state": "committed"}
RESERVED = InventoryAudited(
    order_id=UUID(int=7), action="reserved", changed_by="order", reason=None, at=datetime.now(UTC)
)
AUDITED = OrderAudited(
    order_id=UUID(int=7),
    version=1,
    action="test",
    old_status=None,
    new_status=OrderStatus.CONFIRMED,
    payment_status=PaymentStatus.PAID,
    saga_state="confirmed",
    total=12000,
    currency="zar",
    changed_by="order",
    reason=None,
    admin_notes=None,
    at=datetime.now(UTC),
)
INTENT = {
    "status": "succeeded",
    "amount_received": 12000,
    "amount_refunded": 0,
    "successful_charges": 1,
    "disputes": [],
}
PRODUCT: dict[str, Any] = {
    "stock_quantity": 9,
    "movements_total": 9,
    "opening_stock": 0,
    "moved": 9,
    "by_people": 10,
    "held": 0,
    "sold": 1,
    "lowest": 0,
}


def sound() -> Evidence:
    """One order that is paid and has its piece."""
    return Evidence(
        orders={"o": ORDER},
        products={"p": PRODUCT},
        reservations={"o": [RESERVATION]},
        order_audit={"o": [AUDITED]},
        stock_audit={"o": [RESERVED]},
        movements={("o", "p"): [{"action": "reserved", "quantity": -1}]},
        views={"o": {"customer_id": "anna", "version": 1}},
        intents={"o": [INTENT]},
        history={"o": [{"new_status": "pending"}, {"new_status": "confirmed"}]},
    )


def broken(evidence: Evidence, told: Told | None = None) -> set[str]:
    findings = check_all(evidence, told or Told())
    return {finding.invariant.number for finding in findings if finding.breaches}


def test_each_promise_is_seen_broken() -> None:
    assert broken(sound()) == set()
    evidence = sound()
    evidence.products = {"p": PRODUCT | {"sold": 0}}
    assert "I1" in broken(evidence)
    assert "I1" in broken(sound(), Told(supply={"p": 9}))
    evidence.products = {"p": PRODUCT | {"sold": 20}}
    assert "I2" in broken(evidence)
    evidence.products = {"p": PRODUCT | {"lowest": -1}}
    assert broken(evidence) == {"I2"}
    evidence = sound()
    evidence.reservations = {"o": [RESERVATION | {"state": "restored"}]}
    assert "I3" in broken(evidence)
    evidence = sound()
    evidence.intents = {"o": [INTENT | {"amount_refunded": 1}]}
    assert "I4" in broken(evidence)
    evidence.waiting = [Waiting("outbox row of order", 1)]
    assert "I5" in broken(evidence)
    evidence = sound()
    evidence.orders = {"o": ORDER | {"version": 2}}
    assert {"I6", "I9"} <= broken(evidence)
    evidence.stripe_events = {"evt_1": "payment_intent.succeeded"}
    assert "I7" in broken(evidence)
    evidence = sound()
    evidence.answered_webhooks = {"evt_1"}
    assert "I7" in broken(evidence)
    evidence.history = {"o": [{"new_status": "cancelled"}, {"new_status": "confirmed"}]}
    assert "I8" in broken(evidence)
    assert "I9" in broken(sound(), Told(acknowledged=[Answer("lost", "anna", "key")]))
    evidence = sound()
    evidence.views = {"o": {"customer_id": "bongani", "version": 1}}
    assert "I10" in broken(evidence)


def test_money_that_staff_settled_or_a_bank_took_is_no_breach_and_giving_it_twice_is() -> None:
    cancelled = ORDER | {"status": "cancelled"}

    def money(**changes: Any) -> bool:
        """Whether I4 is broken, for a cancelled order whose money is still at Stripe."""
        intent = {name: changes.pop(name) for name in ("disputes",) if name in changes}
        intent |= {"amount_refunded": changes.get("amount_refunded", 0)}
        evidence = sound()
        evidence.orders, evidence.intents = {"o": cancelled | changes}, {"o": [INTENT | intent]}
        return "I4" in broken(evidence)

    assert money()
    assert not money(refused_refund="It has been charged back.")
    assert not money(amount_settled=12000)
    assert not money(amount_settled=0)
    assert money(amount_settled=12000, amount_refunded=12000)
    lost = [{"amount": 12000, "status": "lost"}]
    assert not money(amount_lost=12000, disputes=lost)
    assert money(amount_lost=12000, amount_settled=0)
