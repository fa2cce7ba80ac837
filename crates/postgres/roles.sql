-- The roles that Lynceus needs in a database, and no more. Run it once as a superuser, or as the
-- owner of the database who may create roles:
--
--     psql -d metrics -v ON_ERROR_STOP=1 -f roles.sql
--     psql -d metrics -c '\password lynceus_writer'
--
-- lynceus_writer  makes and fills the tables of the sink `postgres` in the schema `lynceus`
-- lynceus_reader  reads them: for dashboards, and for the source `postgres`
--
-- Run again, it changes nothing.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lynceus_writer') THEN
        CREATE ROLE lynceus_writer LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT
            CONNECTION LIMIT 20;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lynceus_reader') THEN
        CREATE ROLE lynceus_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT
            CONNECTION LIMIT 50;
    END IF;
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO lynceus_writer', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO lynceus_reader', current_database());
END
$$;

CREATE SCHEMA IF NOT EXISTS lynceus;
REVOKE ALL ON SCHEMA lynceus FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA lynceus TO lynceus_writer;
GRANT USAGE ON SCHEMA lynceus TO lynceus_reader;

-- What the writer makes later, the reader may read. To set this for another role takes its rights
-- for a moment.
GRANT lynceus_writer TO CURRENT_USER;
ALTER DEFAULT PRIVILEGES FOR ROLE lynceus_writer IN SCHEMA lynceus
    GRANT SELECT ON TABLES TO lynceus_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA lynceus TO lynceus_reader;
REVOKE lynceus_writer FROM CURRENT_USER;
