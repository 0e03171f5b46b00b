-- Creates the role that Outrider's postgres checks use. The role can log in and read what everybody may read,
-- and nothing else.
--
--   psql --set=password="$(cat outrider-password)" --dbname=roadtrip --file=docs/setup.sql
--
-- You can run it as often as you like: it creates the role, or resets it to this state. Afterwards:
--   DATABASE_URL=postgresql://outrider:...@db:5432/roadtrip

\set ON_ERROR_STOP on
\if :{?password}
\else
  DO $$ BEGIN RAISE EXCEPTION 'setup.sql needs a password: psql --set=password=...'; END $$;
\endif

BEGIN;

SELECT 'CREATE ROLE outrider' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'outrider') \gexec

-- A check uses one connection for the time of a run. Four are enough for two runners and for checks by hand, and a
-- faulty probe can't take the application's connections away.
ALTER ROLE outrider WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 4 PASSWORD :'password';

-- The probe makes its transactions read-only itself, and its limits are the smaller ones of these and of the check's
-- timeout. They hold for anybody else who uses its password, too.
ALTER ROLE outrider SET default_transaction_read_only = on;
ALTER ROLE outrider SET statement_timeout = '5s';
ALTER ROLE outrider SET lock_timeout = '1s';
ALTER ROLE outrider SET idle_in_transaction_session_timeout = '5s';

SELECT format('GRANT CONNECT ON DATABASE %I TO outrider', current_database()) \gexec

-- `select 1` needs no table. A check that reads a table needs a grant of its own:
--   GRANT SELECT ON public.trips TO outrider;
-- A check with expect.lag of a primary, or that reads pg_stat_replication or other sessions:
--   GRANT pg_monitor TO outrider;

COMMIT;
