-- Stock as topics tell it: levels as last published, and what moved, counted from the audit record by
-- record (docs/decisions/0022).

-- migrate:up
CREATE TABLE stock (
    product_id    uuid PRIMARY KEY,
    version       bigint NOT NULL DEFAULT 0,
    name          text,
    level         bigint,
    threshold     bigint,
    available     boolean,
    removed       boolean NOT NULL DEFAULT false,
    held          bigint NOT NULL DEFAULT 0,
    sold          bigint NOT NULL DEFAULT 0,
    moved         bigint NOT NULL DEFAULT 0,
    last_moved_at timestamptz
) WITH (fillfactor = 70);

COMMENT ON COLUMN stock.version IS 'of the newest ProductUpdated; 0 before the first';
COMMENT ON COLUMN stock.level IS 'what can still be ordered: what is held has left it already';
COMMENT ON COLUMN stock.threshold IS 'the product''s own; 0 takes LOW_STOCK';
COMMENT ON COLUMN stock.moved IS 'sum of all movements that were recorded';

CREATE TABLE stock_days (
    product_id uuid NOT NULL,
    day        date NOT NULL,
    kind       text NOT NULL CONSTRAINT valid_movement_kind CHECK (kind IN (
               'received', 'written_off', 'reserved', 'committed', 'restored', 'returned')),
    quantity   bigint NOT NULL,
    PRIMARY KEY (product_id, day, kind)
) WITH (fillfactor = 70);

COMMENT ON COLUMN stock_days.day IS 'of the movement, in UTC';
COMMENT ON COLUMN stock_days.kind IS
    'restored: came back from an order that held it. returned: from one to which it was sold';

CREATE TABLE stock_counted (
    partition int PRIMARY KEY,
    position  bigint NOT NULL
);

COMMENT ON TABLE stock_counted IS 'up to where the chains of audit.inventory are in stock and stock_days';

CREATE TABLE stock_adjustments (
    id           uuid PRIMARY KEY,
    product_id   uuid NOT NULL,
    delta        bigint NOT NULL,
    requested_by text NOT NULL,
    reason       text NOT NULL,
    requested_at timestamptz NOT NULL,
    answered_at  timestamptz,
    code         text,
    problem      text,
    level        bigint
);

COMMENT ON COLUMN stock_adjustments.id IS 'of the command that was sent';
COMMENT ON COLUMN stock_adjustments.problem IS 'why inventory did not do it';
COMMENT ON COLUMN stock_adjustments.level IS 'of the product when it was done';

CREATE INDEX stock_adjustments_of_product ON stock_adjustments (product_id, requested_at);
CREATE INDEX stock_adjustments_open ON stock_adjustments (requested_at) WHERE answered_at IS NULL;

-- migrate:down
DROP TABLE stock, stock_days, stock_counted, stock_adjustments;
