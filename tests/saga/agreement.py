"""What must hold in the world: after every step, and once it has come to rest.

Numbers as in `tests.invariants`: I1 stock adds up, I2 is never negative, I3 is reserved and
restored once, I4 money and orders agree, I5 nothing waits (`World.heal`), I6 the audit trail has no
gap, I8 ends stay ends and nobody can pay for a dead order. I3 and I8 are also in `tables`, as they
are in the databases.
"""

from collections import Counter, defaultdict

from contracts.audit import OrderAudited
from contracts.order import (
    ChangeOrderStatus,
    OrderStatus,
    PaymentStatus,
    RefundOrder,
    SettleRefund,
)
from services.inventory.rules import Restored
from services.order.order import Order
from tests.saga.stripe import PAYABLE, StripeIntent
from tests.saga.world import World

PAID = (
    OrderStatus.CONFIRMED,
    OrderStatus.PROCESSING,
    OrderStatus.SHIPPED,
    OrderStatus.DELIVERED,
)


def check_always(world: World) -> None:
    """I1 to I4 and I8, whatever is still under way."""
    _stock_adds_up(world)
    for order, _ in world.orders.orders.values():
        intents = [it for it in world.stripe.intents if it.order_id == order.id]
        assert len(intents) <= 1, f"I4: {len(intents)} intents of one order"
        assert sum(it.charges for it in intents) <= 1, "I4: charged twice"
        made = Counter(
            refund.refund_id for it in intents for refund in it.refunds if not refund.failed
        )
        made.pop(None, None)  # in the dashboard
        assert max(made.values(), default=0) <= 1, "I4: one refund was made twice"
        _given_back_once(order, intents)
        under_way = [
            refund
            for refund in world.payments.refunds.values()
            if refund.order_id == order.id and refund.to_make
        ]
        assert sum(it.rest for it in order.refunds if it.outcome is None) <= 1, "I4: two rests"
        asked = {it.refund_id for it in order.refunds}
        assert {refund.refund_id for refund in under_way} <= asked, "I4: a refund nobody asked for"
        released = isinstance(world.inventory.outcomes.get(order.id), Restored)
        if released or order.status is OrderStatus.CANCELLED:
            payable = [it for it in intents if it.status in PAYABLE]
            assert not payable, f"I8: {order.state}, released: {released}, and can be paid"


def _given_back_once(order: Order, intents: list[StripeIntent]) -> None:
    """Staff's money and our refunds together are not more than the customer paid."""
    refunded = sum(
        refund.amount
        for it in intents
        for refund in it.refunds
        if refund.refund_id and not refund.failed
    )
    settled = order.amount_settled or 0
    received = sum(it.received for it in intents)
    assert refunded + settled <= received, f"I4: {refunded} refunded and {settled} settled outside"


def _stock_adds_up(world: World) -> None:
    inventory = world.inventory
    taken: Counter[object] = Counter()
    for reservations in inventory.reservations.values():
        for product_id, reservation in reservations.items():
            if reservation.state != "restored":
                taken[product_id] += reservation.quantity
    moved: Counter[object] = Counter()
    times: Counter[object] = Counter()
    for movement in inventory.movements:
        moved[movement.product_id] += movement.quantity
        times[movement.order_id, movement.product_id, movement.action] += 1
    for product_id, opening in world.stock.items():
        stock = inventory.products[product_id].stock_quantity
        assert stock >= 0, f"I2: stock is {stock}"
        assert stock == opening - taken[product_id], "I1: stock and reservations do not add up"
        assert stock == opening + moved[product_id], "I1: stock and movements do not add up"
    assert max(times.values(), default=0) <= 1, f"I3: moved twice: {times}"


def check_at_rest(world: World) -> None:
    """All of them, after `World.heal`."""
    _audit_is_complete(world)
    for order, _ in world.orders.orders.values():
        intents = [it for it in world.stripe.intents if it.order_id == order.id]
        _stock_agrees(world, order)
        _money_agrees(order, intents[0] if intents else None)


def _ended_as(order: Order) -> OrderStatus:
    """The status, or what it was before it was archived."""
    archived = order.status is OrderStatus.ARCHIVED
    return order.history[-2].new_status if archived else order.status


def _stock_agrees(world: World, order: Order) -> None:
    states = {it.state for it in world.inventory.reservations.get(order.id, {}).values()}
    match _ended_as(order):
        case OrderStatus.CANCELLED:
            assert states <= {"restored"}, f"I3: {order.state}, stock is {states}"
        case OrderStatus.REFUNDED:
            choice = _last_choice(world, order)
            wanted = {None: ({"restored"}, {"committed"}), True: ({"restored"},)}.get(
                choice, ({"committed"},)
            )
            assert states in wanted, f"I3: {order.state}, restock {choice}, stock is {states}"
        case _:
            assert states == {"committed"}, f"I3: {order.state}, stock is {states}"


def _last_choice(world: World, order: Order) -> bool | None:
    """What staff said last about the goods before the order ended, by the commands that changed it.
    Shipping makes "back on sale" untrue."""
    kinds: dict[str, type[RefundOrder | SettleRefund | ChangeOrderStatus]] = {
        kind.wire_type: kind for kind in (RefundOrder, SettleRefund, ChangeOrderStatus)
    }
    of_order = [sent for sent in world.network.published if sent.key == str(order.id)]
    commands = {sent.message_id: sent for sent in of_order if sent.type in kinds}
    choice: bool | None = None
    for sent in of_order:
        if sent.type != OrderAudited.wire_type:
            continue
        audited = OrderAudited.model_validate_json(sent.payload)
        if command := commands.get(sent.causation_id or ""):
            message = kinds[command.type].model_validate_json(command.payload)
            if isinstance(message, ChangeOrderStatus):
                choice = None if choice and message.status is OrderStatus.SHIPPED else choice
            elif message.restock is not None:
                choice = message.restock
        if audited.new_status is OrderStatus.REFUNDED:
            break
    return choice


def _money_agrees(order: Order, intent: StripeIntent | None) -> None:
    received, refunded, lost, kept = (
        (intent.received, intent.refunded, intent.lost, intent.kept) if intent else (0, 0, 0, 0)
    )
    settled = order.amount_settled
    told = (
        f"{order.state}, {order.payment_status}, received {received}, refunded {refunded}, "
        f"lost {lost}, settled outside {settled}"
    )
    if order.status in PAID:
        assert kept > (settled or 0), f"I4: {told}"
    elif _ended_as(order) in (OrderStatus.CANCELLED, OrderStatus.REFUNDED):
        assert not kept or settled is not None, f"I8: {told}"
    back = refunded + lost + (settled or 0)
    if not received:
        expected = {PaymentStatus.UNPAID, PaymentStatus.FAILED}
    elif not back:
        expected = {PaymentStatus.PAID}
    elif back < received:
        expected = {PaymentStatus.PARTIALLY_REFUNDED}
    else:
        expected = {PaymentStatus.REFUNDED}
    assert order.payment_status in expected, f"I4: {told}"
    known = (order.amount_refunded, order.amount_lost)
    assert known == (refunded, lost), f"I4: {told}, the order knows {known}"
    assert order.refused_refund is None, f"I4: {told}, a decision is open: {order.refused_refund}"


def _audit_is_complete(world: World) -> None:
    trail: dict[object, list[OrderAudited]] = defaultdict(list)
    for sent in world.network.published:
        if sent.type == OrderAudited.wire_type:
            audited = OrderAudited.model_validate_json(sent.payload)
            trail[audited.order_id].append(audited)
    for order, _ in world.orders.orders.values():
        audits = trail[order.id]
        versions = [audited.version for audited in audits]
        assert versions == list(range(1, order.version + 1)), f"I6: audited {versions}"
        last = audits[-1]
        assert (last.new_status, last.payment_status, last.saga_state) == (
            order.status,
            order.payment_status,
            order.state,
        ), "I6: the last version is not the order"
