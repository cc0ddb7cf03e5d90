-- What an order went through, message by message, and how it is as last published. Summaries only:
-- no payload, no personal data, no secrets.

-- migrate:up
CREATE TABLE messages (
    topic          text NOT NULL,
    partition      int NOT NULL,
    "offset"       bigint NOT NULL,
    message_id     uuid,
    causation_id   uuid,
    correlation_id text NOT NULL,
    key            text,
    type           text,
    source         text,
    sent_at        timestamptz NOT NULL,
    summary        text NOT NULL,
    PRIMARY KEY (topic, partition, "offset")
);

COMMENT ON COLUMN messages.correlation_id IS 'the order; of a Stripe event without one, its intent';

CREATE INDEX messages_of_order ON messages (correlation_id, sent_at);
-- Rows come nearly in the order of their time: a small index is enough to forget the oldest.
CREATE INDEX messages_by_age ON messages USING brin (sent_at);

CREATE TABLE orders (
    order_id          uuid PRIMARY KEY,
    customer_id       text,
    version           int NOT NULL DEFAULT 0,
    status            text,
    payment_status    text,
    total             bigint,
    currency          text,
    amount_refunded   bigint,
    payment_intent_id text,
    created_at        timestamptz,
    updated_at        timestamptz,
    audit_version     int NOT NULL DEFAULT 0,
    saga_state        text,
    saga_since        timestamptz
) WITH (fillfactor = 70);

COMMENT ON COLUMN orders.version IS 'of the newest OrderUpdated; 0 before the first';
COMMENT ON COLUMN orders.audit_version IS 'of the newest OrderAudited';
COMMENT ON COLUMN orders.saga_since IS 'the first change that brought the order into its saga state';

CREATE INDEX orders_by_status ON orders (status, order_id DESC);
CREATE INDEX orders_by_customer ON orders (customer_id, order_id DESC);
CREATE INDEX orders_by_intent ON orders (payment_intent_id);
CREATE INDEX orders_by_saga ON orders (saga_state, saga_since);

-- migrate:down
DROP TABLE orders, messages;
