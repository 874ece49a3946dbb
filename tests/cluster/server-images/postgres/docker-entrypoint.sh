#!/bin/bash
# Debian's PostgreSQL behind the variables of the official image: PGDATA, POSTGRES_USER, POSTGRES_PASSWORD or
# POSTGRES_PASSWORD_FILE, POSTGRES_INITDB_ARGS.
set -euo pipefail
(($#)) || set -- postgres
[[ $1 == postgres ]] || exec "$@"
export PGDATA="${PGDATA:-/var/lib/postgresql/data}"
if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
    password="${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:?POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE is needed}")}"
    [[ -n $password ]] || {
        echo "the password is empty" >&2
        exit 1
    }
    # A first start that was interrupted left no PG_VERSION behind, but perhaps files.
    rm -rf "$PGDATA.new"
    mkdir -p "${PGDATA%/*}"
    # shellcheck disable=SC2086 # several arguments in one variable, as the official image has it
    initdb --pgdata="$PGDATA.new" --username="${POSTGRES_USER:-postgres}" --pwfile=<(printf '%s\n' "$password") \
        --encoding=UTF8 --locale=C.UTF-8 ${POSTGRES_INITDB_ARGS:-}
    printf '\nhost all all all scram-sha-256\n' >>"$PGDATA.new/pg_hba.conf"
    printf "\nlisten_addresses = '*'\n" >>"$PGDATA.new/postgresql.conf"
    mv "$PGDATA.new" "$PGDATA"
fi
exec "$@"
