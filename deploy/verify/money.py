"""I4 and I7: money. The shop keeps what paid orders cost, and knows what Stripe knows."""

from deploy.verify.evidence import PAID, UNDONE, Breaches, Evidence, Row
from deploy.verify.told import Told


def money_and_orders_agree(evidence: Evidence, _told: Told) -> Breaches:
    for order_id, order in evidence.orders.items():
        intents = evidence.intents.get(order_id, [])
        if len(intents) > 1:
            yield f"order {order_id}: {len(intents)} intents at Stripe"
        charges = sum(intent["successful_charges"] for intent in intents)
        if charges > 1:
            yield f"order {order_id}: charged {charges} times"
        received = sum(intent["amount_received"] for intent in intents)
        refunded = sum(intent["amount_refunded"] for intent in intents)
        kept = received - refunded - sum(lost_by_disputes(intent) for intent in intents)
        settled = order["amount_settled"]
        if refunded + (settled or 0) > received:
            yield f"order {order_id}: {refunded} refunded and {settled} settled of {received}"
        due = 0
        if (
            order["status"] in PAID
            or (order["status"] == "archived" and kept)
            or settled is not None
        ):
            # What staff settled outside is still with the shop at Stripe.
            due = order["total"] - order["amount_refunded"] - order["amount_lost"]
        elif order["status"] in UNDONE and order["refused_refund"] is not None:
            continue  # Stripe does not take the refund, and staff have to decide
        if kept != due:
            yield f"order {order_id}: {order['status']}, so {due} should be kept, but {kept} is"
    for order_id in evidence.intents.keys() - evidence.orders.keys():
        yield f"order {order_id}: has an intent at Stripe, but does not exist"


def lost_by_disputes(intent: Row) -> int:
    """What banks took back of an intent's money, besides what was refunded."""
    lost: int = sum(each["amount"] for each in intent["disputes"] if each["status"] == "lost")
    not_refunded: int = intent["amount_received"] - intent["amount_refunded"]
    return min(lost, not_refunded)


def webhooks_are_applied(evidence: Evidence, _told: Told) -> Breaches:
    for event_id, kind in evidence.stripe_events.items():
        outcome = evidence.decided_events.get(event_id)
        if outcome is None:
            yield f"{event_id} ({kind}): Stripe sent it, the payment service never heard of it"
    for event_id in evidence.answered_webhooks - evidence.kept_webhooks:
        yield f"{event_id}: its webhook was answered 200, but is not on the topic"
    for order_id, payment in evidence.payments.items():
        for intent in evidence.intents.get(order_id, []):
            names = ("amount_received", "amount_refunded")
            at_stripe = (*(intent[name] for name in names), lost_by_disputes(intent))
            left = payment["amount_received"] - payment["amount_refunded"]
            known = (*(payment[name] for name in names), min(payment["amount_lost"], left))
            if known != at_stripe:
                yield (
                    f"payment {order_id}: received, refunded and lost at Stripe {at_stripe}: "
                    f"{dict(payment)}"
                )
