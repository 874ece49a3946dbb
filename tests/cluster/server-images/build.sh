#!/usr/bin/env bash
# Builds the stand-ins for the official images of PostgreSQL, MongoDB and RabbitMQ from Debian's packages and PyPI.
#   build.sh WORK TAG    images localhost/eventplatform/test-{postgres,mongodb,rabbitmq}:TAG; WORK keeps the base system
# Needs root, mmdebstrap, podman and python3 with venv.
set -euo pipefail
[[ $# -eq 2 ]] || {
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
}
here=$(realpath "$(dirname "$0")")
mkdir -p "$1"
work=$(realpath "$1")
tag=$2
secantus=$(sed -n 's/^secantus_version=//p' "$here/../../../.ci/install")
base="localhost/eventplatform/test-servers-base:$tag"

rm -rf "$work/root" "$work/venv"
[[ -s "$work/base.tar" ]] || mmdebstrap --variant=minbase \
    --include=postgresql-15,rabbitmq-server,python3,procps,libgeos-c1v5 \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/base.tar" 2>"$work/base.log" || {
    rm -f "$work/base.tar"
    tail -5 "$work/base.log" >&2
    exit 1
}
mkdir -p "$work/root"
tar -C "$work/root" -xf "$work/base.tar"
root=$work/root
# The user of the official images; initdb refuses one that has no name.
chroot "$root" groupadd --gid 999 server
chroot "$root" useradd --uid 999 --gid 999 --no-create-home --home-dir /tmp --shell /bin/bash server
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/lib/postgresql/* "$root"/var/lib/rabbitmq
mkdir -p "$root"/var/lib/{postgresql/data,rabbitmq} "$root"/data/{db,configdb} "$root"/run/{mongodb,postgresql}
chown -R 999:999 "$root"/var/lib/{postgresql,rabbitmq} "$root"/data "$root"/run/{mongodb,postgresql}
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    --target "$root/usr/local/lib/python3.11/dist-packages" "secantusdb==$secantus"
printf '#!/usr/bin/python3\nfrom secantus.cli import main\n\nmain()\n' >"$root/usr/local/bin/secantusd-py"
chmod 755 "$root/usr/local/bin/secantusd-py"
rm -rf "$work/venv"

tar -C "$root" --numeric-owner -c . | podman import --quiet - "$base"
for server in postgres mongodb rabbitmq; do
    podman build --quiet --build-arg BASE="$base" --build-arg SERVER="$server" \
        --tag "localhost/eventplatform/test-$server:$tag" --file "$here/Containerfile" "$here"
done
rm -rf "$root"
