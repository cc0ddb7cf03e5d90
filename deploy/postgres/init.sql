-- One role and one database per service, and no way from one to another. Read by the image's
-- entry point at the first start and by the local stack at every start, so it can be repeated.
-- Passwords come from the environment.

\set ON_ERROR_STOP on
\getenv orders_password ORDERS_DB_PASSWORD
\getenv inventory_password INVENTORY_DB_PASSWORD
\getenv payment_password PAYMENT_DB_PASSWORD
\getenv gateway_password GATEWAY_DB_PASSWORD
\getenv notification_password NOTIFICATION_DB_PASSWORD
\getenv ops_password OPS_DB_PASSWORD
\getenv ops_runtime_password OPS_RUNTIME_DB_PASSWORD

CREATE TEMPORARY TABLE service (name text, password text);
INSERT INTO service VALUES
    ('orders', :'orders_password'),
    ('inventory', :'inventory_password'),
    ('payment', :'payment_password'),
    ('gateway', :'gateway_password'),
    ('notification', :'notification_password'),
    ('ops', :'ops_password');

SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', name, password)
FROM service
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service.name)
\gexec

SELECT format('CREATE DATABASE %I OWNER %I', name, name)
FROM service
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = service.name)
\gexec

-- The ops service runs as a role that may add to the audit and not change it; the owner migrates.
SELECT format('CREATE ROLE ops_runtime LOGIN PASSWORD %L', :'ops_runtime_password')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ops_runtime')
\gexec

GRANT CONNECT ON DATABASE ops TO ops_runtime;

-- By default every role may connect to every database.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname)
FROM pg_database
WHERE datname IN (SELECT name FROM service) OR datname IN ('postgres', 'template1')
\gexec
