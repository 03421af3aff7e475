#!/bin/sh
# Run once by PostgreSQL's image, when the cluster is new: the roles, who owns the database, and a login for each
# process that may take on its one role and nothing else. docs/decisions/0032-row-level-security.md
set -eu
exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv database POSTGRES_DB
\getenv owner_password DB_OWNER_PASSWORD
\getenv api_password DB_API_PASSWORD
\getenv worker_password DB_WORKER_PASSWORD
\getenv sweeper_password DB_SWEEPER_PASSWORD
\getenv webhooks_password DB_WEBHOOKS_PASSWORD
\getenv operator_password DB_OPERATOR_PASSWORD

CREATE ROLE cleanclip_api NOLOGIN;
CREATE ROLE cleanclip_worker NOLOGIN;
CREATE ROLE cleanclip_operator NOLOGIN;

-- For migrations: it may take on every role, because each of them checks that it can.
CREATE ROLE owner_login LOGIN PASSWORD :'owner_password';
GRANT cleanclip_api, cleanclip_worker, cleanclip_operator TO owner_login WITH INHERIT FALSE, SET TRUE;
ALTER DATABASE :"database" OWNER TO owner_login;

CREATE ROLE api_login LOGIN PASSWORD :'api_password';
CREATE ROLE worker_login LOGIN PASSWORD :'worker_password';
CREATE ROLE sweeper_login LOGIN PASSWORD :'sweeper_password';
CREATE ROLE webhooks_login LOGIN PASSWORD :'webhooks_password';
CREATE ROLE operator_login LOGIN PASSWORD :'operator_password';
GRANT cleanclip_api TO api_login WITH INHERIT FALSE, SET TRUE;
GRANT cleanclip_worker TO worker_login, sweeper_login, webhooks_login WITH INHERIT FALSE, SET TRUE;
GRANT cleanclip_operator TO operator_login WITH INHERIT FALSE, SET TRUE;
SQL
