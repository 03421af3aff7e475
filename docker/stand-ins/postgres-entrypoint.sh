#!/bin/sh
# What PostgreSQL's own image does before its server runs, as far as docker-compose.yml relies on it: a new cluster
# gets the superuser, its password, the database, and the scripts of /docker-entrypoint-initdb.d; then TCP for all.
set -eu
socket=/var/run/postgresql
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    umask 077
    mkdir -p "$PGDATA"
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --pgdata="$PGDATA" --wait --options="-c listen_addresses= -c unix_socket_directories=$socket" start
    export PGHOST="$socket"
    createdb --username="$POSTGRES_USER" "$POSTGRES_DB" 2> /dev/null || test "$POSTGRES_DB" = postgres
    for script in /docker-entrypoint-initdb.d/*.sh; do [ ! -f "$script" ] || sh "$script"; done
    pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
fi
exec "$@" -c "listen_addresses=*" -c "unix_socket_directories=$socket"
