-- Products and their stock. The row of a product is the one place where its stock is decided: it goes
-- down by a decrement under the row's lock, and cannot become negative, whoever asks.
--
-- `movements_total` moves with the stock (for plain SQL a trigger sees to it, see 0103), so the
-- opening stock never changes and the books can be checked.

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
    opening_stock       bigint GENERATED ALWAYS AS (stock_quantity - movements_total) STORED,
    sold_out            boolean NOT NULL DEFAULT false,
    version             bigint NOT NULL DEFAULT 1,
    published_version   bigint NOT NULL DEFAULT 0,
    stock_published_at  timestamptz NOT NULL DEFAULT '-infinity',
    settled             boolean NOT NULL DEFAULT false,
    removed_at          timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sold_out_means_no_stock CHECK (NOT sold_out OR stock_quantity = 0)
) WITH (
    -- Every batch rewrites the rows of its products: keep room for that on the page, and vacuum by
    -- count, not by share, since each lookup of a hot product walks over its dead versions.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000
);

COMMENT ON COLUMN products.price IS 'minor units of the currency';
COMMENT ON COLUMN products.movements_total IS
    'sum of the product''s stock_movements';
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

-- One function for all tables whose rows are for ever.
CREATE FUNCTION refuse_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are not deleted: a repeated command would be obeyed again, '
          'and movements would have nothing to refer to', TG_TABLE_NAME
    USING HINT = 'UPDATE products SET removed_at = now() takes a product off the catalogue';
END $$;

CREATE TRIGGER products_stay BEFORE DELETE ON products
FOR EACH ROW EXECUTE FUNCTION refuse_delete();

-- migrate:down
DROP TABLE products;
DROP FUNCTION refuse_delete();
