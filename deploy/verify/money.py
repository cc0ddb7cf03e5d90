"""I4 and I7: money. The shop keeps what paid orders cost, and knows what Stripe knows."""

from deploy.verify.evidence import PAID, UNDONE, Breaches, Evidence
from deploy.verify.told import Told

SENT_BACK = "Refund failed"
"""How the notes of an order begin whose refund the customer's bank did not take."""


def money_and_orders_agree(evidence: Evidence, _told: Told) -> Breaches:
    for order_id, order in evidence.orders.items():
        intents = evidence.intents.get(order_id, [])
        if len(intents) > 1:
            yield f"order {order_id}: {len(intents)} intents at Stripe"
        charges = sum(intent["successful_charges"] for intent in intents)
        if charges > 1:
            yield f"order {order_id}: charged {charges} times"
        kept = sum(intent["amount_received"] - intent["amount_refunded"] for intent in intents)
        due = 0
        if order["status"] in PAID:
            due = order["total"] - order["amount_refunded"]
        elif order["status"] in UNDONE and (order["admin_notes"] or "").startswith(SENT_BACK):
            continue  # the bank did not take the money back, and staff know
        elif order["status"] == "archived":
            due = kept if kept == 0 else order["total"] - order["amount_refunded"]
        if kept != due:
            yield f"order {order_id}: {order['status']}, so {due} should be kept, but {kept} is"
    for order_id in evidence.intents.keys() - evidence.orders.keys():
        yield f"order {order_id}: has an intent at Stripe, but does not exist"


def webhooks_are_applied(evidence: Evidence, _told: Told) -> Breaches:
    for event_id, kind in evidence.stripe_events.items():
        outcome = evidence.decided_events.get(event_id)
        if outcome is None:
            yield f"{event_id} ({kind}): Stripe sent it, the payment service never heard of it"
    for event_id in evidence.answered_webhooks - evidence.kept_webhooks:
        yield f"{event_id}: its webhook was answered 200, but is not on the topic"
    for order_id, payment in evidence.payments.items():
        for intent in evidence.intents.get(order_id, []):
            at_stripe = (intent["amount_received"], intent["amount_refunded"])
            if (payment["amount_received"], payment["amount_refunded"]) != at_stripe:
                known = dict(payment)
                yield f"payment {order_id}: received and refunded at Stripe {at_stripe}: {known}"
