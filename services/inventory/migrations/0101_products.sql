-- Products and their stock. The row of a product is the one place where its stock is decided: it goes
-- down by a decrement under the row's lock, and cannot become negative, whoever asks.

-- migrate:up
CREATE TABLE products (
    id                  uuid PRIMARY KEY,
    name                text NOT NULL,
    price               bigint NOT NULL CONSTRAINT price_positive CHECK (price > 0),
    currency            text NOT NULL CONSTRAINT valid_currency CHECK (currency ~ '^[a-z]{3}$'),
    available           boolean NOT NULL DEFAULT true,
    low_stock_threshold int NOT NULL DEFAULT 0
                        CONSTRAINT low_stock_threshold_non_negative CHECK (low_stock_threshold >= 0),
    stock_quantity      bigint NOT NULL DEFAULT 0
                        CONSTRAINT stock_quantity_non_negative CHECK (stock_quantity >= 0),
    movements_total     bigint NOT NULL DEFAULT 0,
    sold_out            boolean NOT NULL DEFAULT false,
    version             int NOT NULL DEFAULT 1,
    published_version   int NOT NULL DEFAULT 0,
    stock_published_at  timestamptz NOT NULL DEFAULT '-infinity',
    settled             boolean NOT NULL DEFAULT false,
    removed_at          timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
) WITH (
    -- Every sale rewrites a row: keep room for it on the page, and vacuum by count, not by share.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000
);

COMMENT ON COLUMN products.price IS 'minor units of the currency';
COMMENT ON COLUMN products.movements_total IS
    'sum of the product''s stock_movements; stock_quantity minus this is the opening stock';
COMMENT ON COLUMN products.sold_out IS 'customers took the last one, and the next one is told so';
COMMENT ON COLUMN products.version IS 'grows with every change of the row';
COMMENT ON COLUMN products.published_version IS 'newest version that was sent to the catalogue';
COMMENT ON COLUMN products.stock_published_at IS 'when orders last made the stock be published';
COMMENT ON COLUMN products.settled IS 'the catalogue''s last record is known to be the newest version';

-- Low and empty stock, for reports.
CREATE INDEX products_by_stock ON products (stock_quantity) WHERE removed_at IS NULL;
-- What the catalogue timer looks for; most products are settled.
CREATE INDEX products_to_publish ON products (updated_at)
 WHERE published_version < version OR NOT settled;

-- migrate:down
DROP TABLE products;
