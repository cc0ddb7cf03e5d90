-- What staff asked of many orders at once, and what the order service made of each.

-- migrate:up
CREATE TABLE bulks (
    id           uuid PRIMARY KEY,
    action       text NOT NULL,
    restock      boolean,
    requested_by text NOT NULL,
    reason       text NOT NULL,
    requested_at timestamptz NOT NULL
);

CREATE TABLE bulk_orders (
    bulk_id     uuid NOT NULL REFERENCES bulks,
    order_id    uuid NOT NULL,
    command_id  uuid NOT NULL UNIQUE,
    answered_at timestamptz,
    problem     text,
    PRIMARY KEY (bulk_id, order_id)
);

COMMENT ON COLUMN bulk_orders.command_id IS 'of the message that was sent: the cause of the answer';
COMMENT ON COLUMN bulk_orders.problem IS 'why the order service refused; null when it did it';

-- migrate:down
DROP TABLE bulk_orders, bulks;
