"""A stand-in for Stripe: a small stateful web server that the real SDK talks to.

    python -m deploy.local.stripe_standin        # settings.py has the environment variables

The base address is the only difference between it and Stripe. It takes test keys only
(`sk_test_...`, `pk_test_...`), knows Stripe's test payment methods by name (payment_methods.py),
has the operations in operations.py, and signs and sends webhooks. Everything is in one SQLite
file, and an answer that was given survives `kill -9`. Read operations.py first, then intents.py.

The control interface, JSON in and out (POST bodies need `Content-Type: application/json`):

GET, POST, DELETE /_control/faults
    A fault is `{"kind", "operation"?, "rate"?, "count"?, "delay_ms"?}`: what goes wrong; for
    which operation (`create_refund`) or event type (`charge.refunded`), else for all; how
    likely, 0 to 1; how many times, else until cleared. POST adds one or a list.
    API calls: `delay`, `rate_limit` (429), `error_before` (500, no effect, not stored),
    `stored_error` (500, no effect, stored under the idempotency key), `error_after` (500 after
    the effect, stored), `lost_answer` (the connection breaks after the effect),
    `not_refundable` (a refund is refused for good, stored).
    Webhooks: `webhook_doubled`, `webhook_dropped`, `webhook_held`, `webhook_delayed`,
    `webhook_shuffled` (by a random part of delay_ms).
    Faults are not kept across a restart. A count falls whenever its fault strikes.
POST /_control/idempotency_keys/forget
    All keys are forgotten now: `{"forgotten": n}`.
POST /_control/webhooks/release
    What is held goes out, nothing more is held: `{"released": n}`.
POST /_control/events/{id}/resend
    Sent once more, dropped ones too: `{"endpoints": n}`.
POST /_control/payment_intents/{id}/authenticate   `{"success": bool}`, true if left out
POST /_control/payment_intents/{id}/succeed        from any status but succeeded, even canceled
POST /_control/payment_intents/{id}/fail           from processing
    The intent as it is then.
POST /_control/charges/{id}/dispute, /_control/payment_intents/{id}/dispute
    `{"reason"?, "amount"?, "inquiry"?}`; the dispute.
POST /_control/disputes/{id}   `{"status": str}`
    The dispute moves on: `under_review`, `won`, `lost`; of an inquiry `warning_under_review`,
    `warning_closed` or `needs_response`. Emits what Stripe does.
GET /_control/ledger?order_id=&starting_after=
    `{"data": [{"id", "order_id", "status", "amount", "currency", "amount_received",
    "amount_refunded", "successful_charges", "refunds": [{"id", "amount", "status"}],
    "disputes": [{"id", "status", "amount"}]}], "has_more"}`, oldest first, 1,000 a page.
GET /_control/requests
    `{"operations": {name: {status or "replayed": n}}, "webhooks": {"delivered",
    "failed_attempts", "due", "sending", "held", "dropped", "failed"}}`; calls, delivered and
    failed attempts since the start, the rest as of now.

Where it is simpler than Stripe: no customers, no balance, no redirect rules (`return_url` is never
demanded), any payment method works with any currency, card details are not taken (only names of
test methods), and search is never behind.
"""
