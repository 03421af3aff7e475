#!/usr/bin/env bash
# Makes sure that a container engine answers: the one that is there, or on a bare Debian, as root, Debian's docker.io.
# Ends with 3, and a sentence, where none can be had.
set -euo pipefail
cd "$(dirname "$0")/.."
docker info > /dev/null 2>&1 && docker compose version > /dev/null 2>&1 && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "Containers were not tried: no Docker engine answers, and this is no Debian where one can be installed as root." >&2
    exit 3
fi
if ! command -v dockerd > /dev/null || ! docker compose version > /dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        docker.io docker-cli docker-compose iptables mmdebstrap > /dev/null
fi
if ! docker info > /dev/null 2>&1; then
    mkdir -p var/docker
    setsid nohup dockerd --data-root "$PWD/var/docker/data" --exec-root "$PWD/var/docker/exec" \
        --pidfile "$PWD/var/docker/pid" > var/docker/log 2>&1 < /dev/null &
    for _ in $(seq 60); do docker info > /dev/null 2>&1 && break || sleep 1; done
fi
docker info > /dev/null 2>&1 || {
    echo "Containers were not tried: dockerd does not start here:" >&2
    tail -3 var/docker/log >&2
    exit 3
}
