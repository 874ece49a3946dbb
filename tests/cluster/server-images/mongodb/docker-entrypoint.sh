#!/bin/bash
# SecantusDB, which speaks MongoDB's protocol, behind the variables of the official image: MONGO_INITDB_ROOT_USERNAME and
# MONGO_INITDB_ROOT_PASSWORD make the administrator at the first start. It is its own replica set of one member; what
# `mongod` is told about replica sets and key files has no meaning here.
set -euo pipefail
(($#)) || set -- mongod
[[ $1 == mongod ]] || exec "$@"
data=/data/db/secantus
if [[ ! -e "$data/.initialized" && -n "${MONGO_INITDB_ROOT_USERNAME:-}" ]]; then
    rm -rf "$data"
    secantusd-py --host 127.0.0.1 --port 27018 --storage-path "$data" --sync-on-commit &
    server=$!
    python3 /usr/local/bin/make-administrator.py
    kill -TERM "$server"
    wait "$server" || true
    touch "$data/.initialized"
fi
exec secantusd-py --host 0.0.0.0 --port 27017 --storage-path "$data" --cache-size 256M --sync-on-commit --auth
