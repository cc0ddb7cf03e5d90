-- Two roles: the owner `ops` migrates, `ops_runtime` is who the running service is. The runtime role
-- gets everything here but the schema; what it must not change is taken from it table by table.

-- migrate:up
GRANT USAGE ON SCHEMA public TO ops_runtime;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ops_runtime;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ops_runtime;

-- Making the inbox's partitions takes the owner's rights.
ALTER FUNCTION maintain_inbox(interval, int) SECURITY DEFINER SET search_path = public, pg_temp;
REVOKE EXECUTE ON FUNCTION maintain_inbox(interval, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maintain_inbox(interval, int) TO ops_runtime;

-- migrate:down
ALTER FUNCTION maintain_inbox(interval, int) SECURITY INVOKER RESET search_path;
GRANT EXECUTE ON FUNCTION maintain_inbox(interval, int) TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM ops_runtime;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ops_runtime;
