-- What customers were told of their orders, and what they are still to be told. A mail is decided in
-- the transaction of the message that brings its news, handed to the mail server outside any
-- transaction, and marked in a second one; a crash in between sends it again, with the same
-- Message-ID.
--
-- Personal data is in `contacts` alone, and leaves with its row.

-- migrate:up
CREATE TABLE contacts (
    order_id uuid PRIMARY KEY,
    email    text NOT NULL,
    given_at timestamptz NOT NULL
);

COMMENT ON TABLE contacts IS
    'e-mail addresses, until the order has not changed for CONTACT_RETENTION_DAYS';

CREATE INDEX contacts_by_age ON contacts (given_at);

CREATE TABLE orders (
    order_id        uuid PRIMARY KEY,
    version         int NOT NULL DEFAULT 0,
    changes         int NOT NULL DEFAULT 0,
    amount_refunded bigint NOT NULL DEFAULT 0,
    payment_failed  boolean NOT NULL DEFAULT false,
    changed_at      timestamptz NOT NULL DEFAULT '-infinity'
);

COMMENT ON TABLE orders IS
    'how much of each order has been told: the newest version, the length of its history, ...';

CREATE TABLE mails (
    order_id        uuid NOT NULL,
    kind            text NOT NULL CONSTRAINT valid_mail_kind CHECK (kind IN
                    ('order_confirmed', 'status_changed', 'payment_failed', 'refund_made',
                     'late_payment_returned')),
    number          int NOT NULL,
    state           text NOT NULL DEFAULT 'queued' CONSTRAINT valid_mail_state CHECK (state IN
                    ('queued', 'sent', 'parked')),
    facts           json,
    news_at         timestamptz NOT NULL,
    attempts        int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    lease_token     uuid,
    reason          text,
    finished_at     timestamptz,
    CONSTRAINT one_mail_per_news PRIMARY KEY (order_id, kind, number)
);

COMMENT ON COLUMN mails.number IS
    'of a change of status its place in the history, of anything else the version of the order';
COMMENT ON COLUMN mails.facts IS 'what the template says; null once the mail is sent';
COMMENT ON COLUMN mails.next_attempt_at IS
    'when to take the mail; while lease_token is set, when the lease of its worker ends';
COMMENT ON COLUMN mails.reason IS
    'why it was not taken last, or why it is parked; never holds the address';

CREATE INDEX mails_due ON mails (next_attempt_at) WHERE state = 'queued';
CREATE INDEX mails_parked ON mails (order_id) WHERE state = 'parked';
CREATE INDEX mails_by_age ON mails (finished_at) WHERE finished_at IS NOT NULL;

-- migrate:down
DROP TABLE mails;
DROP TABLE orders;
DROP TABLE contacts;
