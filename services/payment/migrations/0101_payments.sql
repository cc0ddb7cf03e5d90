-- One row per order that a payment was asked for, or undone for. The row is the lock under which
-- webhooks, answers of Stripe and commands settle a payment, in whatever order they come, so what
-- must never happen to money is held here and not in code alone: an end state does not reopen,
-- money received does not vanish, one order has one intent.

-- migrate:up
CREATE TABLE payments (
    order_id          uuid PRIMARY KEY,
    customer_id       text,
    amount            bigint NOT NULL CHECK (amount >= 0),
    currency          text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    payment_intent_id text CONSTRAINT one_payment_per_intent UNIQUE,
    client_secret     text,
    status            text NOT NULL CONSTRAINT valid_payment_status CHECK (status IN
                      ('creating', 'open', 'failed', 'succeeded', 'canceled', 'refused')),
    intent_status     text,
    amount_received   bigint NOT NULL DEFAULT 0,
    amount_refunded   bigint NOT NULL DEFAULT 0,
    refund_failed     boolean NOT NULL DEFAULT false,
    cancel_requested  boolean NOT NULL DEFAULT false,
    check_requested   boolean NOT NULL DEFAULT false,
    calling           boolean NOT NULL DEFAULT false,
    calls             int NOT NULL DEFAULT 0,
    failure_message   text,
    failure_code      text,
    problem           text,
    version           int NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT received_is_what_was_asked CHECK (amount_received IN (0, amount)),
    CONSTRAINT refunded_within_received CHECK (amount_refunded BETWEEN 0 AND amount_received),
    CONSTRAINT succeeded_means_received CHECK (status <> 'succeeded' OR amount_received = amount),
    CONSTRAINT open_means_intent CHECK
        (status NOT IN ('open', 'failed', 'succeeded') OR payment_intent_id IS NOT NULL)
) WITH (
    -- Two or three updates follow each insert within seconds; free room on the page lets those
    -- that touch no index be HOT.
    fillfactor = 70,
    -- By count as well as by share: a share of a table of millions would come days late.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_analyze_scale_factor = 0.02
);

COMMENT ON COLUMN payments.status IS
    'creating: no intent yet. open: the customer can pay. failed: the last attempt was declined '
    'and the order was told. Ends: succeeded; canceled, confirmed by Stripe or without an intent; '
    'refused: Stripe did not take the request. Money that arrives after canceled or refused shows '
    'in amount_received, the status stays.';
COMMENT ON COLUMN payments.refund_failed IS
    'a refund failed once, so sums of refunds can fall: they are asked for, not taken from events';
COMMENT ON COLUMN payments.check_requested IS 'Stripe is to be asked how things are';
COMMENT ON COLUMN payments.calling IS 'a call for this order is in stripe_calls: one at a time';
COMMENT ON COLUMN payments.calls IS 'how many calls were queued: part of their idempotency keys';
COMMENT ON COLUMN payments.problem IS 'what a person has to look into';

CREATE FUNCTION refuse_payment_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'payment of order % cannot change from % (intent %, received %) to % (intent %, received %)',
        old.order_id, old.status, old.payment_intent_id, old.amount_received,
        new.status, new.payment_intent_id, new.amount_received
        USING ERRCODE = 'check_violation', CONSTRAINT = 'settled_payments_stay';
END $$;

CREATE TRIGGER settled_payments_stay BEFORE UPDATE ON payments FOR EACH ROW
WHEN ((old.status IN ('succeeded', 'canceled', 'refused') AND new.status <> old.status)
      OR (new.status = 'creating' AND old.status <> 'creating')
      OR new.amount_received < old.amount_received
      OR new.amount <> old.amount
      OR new.currency <> old.currency
      OR new.payment_intent_id IS DISTINCT FROM old.payment_intent_id
         AND old.payment_intent_id IS NOT NULL)
EXECUTE FUNCTION refuse_payment_change();

CREATE TABLE refunds (
    refund_id        uuid PRIMARY KEY,
    order_id         uuid NOT NULL REFERENCES payments,
    amount           bigint NOT NULL CHECK (amount > 0),
    status           text NOT NULL CONSTRAINT valid_refund_status
                     CHECK (status IN ('pending', 'succeeded', 'failing', 'failed')),
    stripe_refund_id text CONSTRAINT one_refund_per_stripe_refund UNIQUE,
    attempt          int NOT NULL CHECK (attempt > 0),
    failure_message  text,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);

COMMENT ON COLUMN refunds.status IS
    'pending: not made yet, or (with a stripe_refund_id) made and counted by Stripe but not with '
    'the customer yet. failing: Stripe says it failed; the sum that stands is being asked for.';

CREATE INDEX refunds_by_order ON refunds (order_id);

-- migrate:down
DROP TABLE refunds;
DROP TABLE payments;
DROP FUNCTION refuse_payment_change();
