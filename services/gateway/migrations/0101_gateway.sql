-- What the gateway keeps: the answers it gave under idempotency keys, and views of orders and
-- products that follow their topics: products can be rebuilt from the catalogue at any time, orders
-- only as far back as order.events reaches. The views hold no personal data.

-- migrate:up
CREATE TABLE idempotency_keys (
    customer_id   text NOT NULL,
    key           text NOT NULL,
    request_hash  bytea NOT NULL,
    subject_id    uuid NOT NULL,
    response      jsonb,
    status_code   smallint,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    running_until timestamptz NOT NULL,
    -- A key belongs to its customer: two customers may choose the same one.
    PRIMARY KEY (customer_id, key),
    CONSTRAINT answered_as_a_whole CHECK ((response IS NULL) = (status_code IS NULL))
);

COMMENT ON COLUMN idempotency_keys.subject_id IS
    'What the first request made: the order, or the command. A repeat after a crash finds it here.';
COMMENT ON COLUMN idempotency_keys.running_until IS
    'While there is no response: until then the first request is still being served.';

CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);

CREATE TABLE orders (
    order_id    uuid PRIMARY KEY,
    customer_id text NOT NULL,
    version     int NOT NULL,
    -- The newest OrderUpdated as it came. Not jsonb: it is never searched, only handed on.
    document    json NOT NULL
) WITH (
    -- An order changes several times in its first seconds: room for that on its own page spares
    -- its index entries.
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0.02
);

COMMENT ON COLUMN orders.version IS
    '0 from the request that placed the order until the order service has spoken.';

-- Order ids are UUIDv7, so this is newest first, and a page starts where the last one ended.
CREATE INDEX orders_of_customer ON orders (customer_id, order_id DESC);

CREATE TABLE products (
    product_id          uuid PRIMARY KEY,
    version             int NOT NULL,
    name                text NOT NULL,
    price               bigint NOT NULL,
    currency            text NOT NULL,
    available           boolean NOT NULL,
    stock_quantity      bigint NOT NULL,
    low_stock_threshold bigint NOT NULL,
    removed             boolean NOT NULL
) WITH (
    -- The stock level of a popular product changes twice a second.
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0.02
);

-- What inventory answered to commands of product administration. Whichever replica consumes the
-- answer, the one whose client waits finds it here.
CREATE TABLE command_answers (
    command_id  uuid PRIMARY KEY,
    document    json NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX command_answers_age ON command_answers (received_at);

-- migrate:down
DROP TABLE command_answers;
DROP TABLE products;
DROP TABLE orders;
DROP TABLE idempotency_keys;
