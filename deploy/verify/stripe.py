"""Evidence from Stripe: what really happened to the money, and every event it ever sent.

The ledger is the stand-in's; the list of events is Stripe's own API.
"""

import time
from collections import defaultdict
from datetime import timedelta
from typing import Any

import httpx

from contracts.topics import STRIPE_WEBHOOKS
from deploy.verify.evidence import Evidence, Row

HEEDED = (
    "payment_intent.created",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.closed",
)
"""Types that change an order or a payment; each of them must be known to the payment service."""


async def read_stripe(address: str, secret_key: str, evidence: Evidence) -> None:
    """Fill in the ledger, the events, and which of them were taken in as webhooks."""
    oldest = time.time() - (STRIPE_WEBHOOKS.retention or timedelta.max).total_seconds()
    async with httpx.AsyncClient(
        base_url=address,
        trust_env=False,
        timeout=30,
        headers={"Authorization": f"Bearer {secret_key}"},
    ) as client:
        intents: dict[str, list[Row]] = defaultdict(list)
        for entry in await _pages(client, "/_control/ledger"):
            intents[entry["order_id"]].append(entry)
        evidence.intents = dict(intents)
        for event in await _pages(client, "/v1/events", limit="100", **_types()):
            if (event["data"]["object"].get("metadata") or {}).get("order_id"):
                evidence.stripe_events[event["id"]] = event["type"]
                if event["pending_webhooks"] == 0 and event["created"] > oldest:
                    evidence.answered_webhooks.add(event["id"])


def _types() -> dict[str, str]:
    return {f"types[{number}]": name for number, name in enumerate(HEEDED)}


async def _pages(client: httpx.AsyncClient, path: str, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = (await client.get(path, params=query)).raise_for_status().json()
        found += page["data"]
        if not page["has_more"]:
            return found
        query["starting_after"] = page["data"][-1]["id"]
