#!/usr/bin/env bash
# Makes sure that a container engine answers: the one that is there, or on a bare Debian, as root, Debian's docker.io.
# Ends with 3, and a sentence, where none can be had.
#
#   docker/engine.sh         DOCKER_DATA: where an engine that this script starts keeps its data (var/docker/data)
#   docker/engine.sh stop    stops the engine that this script started, and no other
set -euo pipefail
cd "$(dirname "$0")/.."

give_up() {
    echo "Containers were NOT run: $1" >&2
    exit 3
}

answers() { timeout 20 docker info > /dev/null 2>&1; }

if [ "${1:-}" = stop ]; then
    [ ! -s var/docker/pid ] || kill "$(cat var/docker/pid)" 2> /dev/null || true
    for _ in $(seq 30); do [ -s var/docker/pid ] && sleep 1 || break; done
    # It leaves its mounts behind, and with them nobody could delete the folder.
    for place in var/docker/exec/netns/default "${DOCKER_DATA:-var/docker/data}"; do
        umount "$place" 2> /dev/null || true
    done
    exit 0
fi
answers && docker compose version > /dev/null 2>&1 && exit 0
[ "$(id -u)" = 0 ] || give_up "no Docker engine answers, and only root can install and start one."
if ! command -v dockerd > /dev/null || ! docker compose version > /dev/null 2>&1; then
    command -v apt-get > /dev/null || give_up "there is no Docker engine, and no apt-get to install one."
    # What is installed is left as it is: compose is in Debian's docker-compose or already there.
    packages=(docker.io iptables)
    command -v docker > /dev/null || packages+=(docker-cli)
    docker compose version > /dev/null 2>&1 || packages+=(docker-compose)
    docker buildx version > /dev/null 2>&1 || packages+=(docker-buildx)
    fetch=(-o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=1)
    install() {
        DEBIAN_FRONTEND=noninteractive timeout 240 apt-get "${fetch[@]}" install -y -qq --no-install-recommends \
            "${packages[@]}" > /dev/null 2>&1
    }
    install || { timeout 120 apt-get "${fetch[@]}" update -qq > /dev/null && install; } ||
        give_up "apt-get cannot install ${packages[*]}."
fi
if ! answers; then
    mkdir -p var/docker "${DOCKER_DATA:-var/docker/data}"
    setsid nohup dockerd --data-root "${DOCKER_DATA:-$PWD/var/docker/data}" --exec-root "$PWD/var/docker/exec" \
        --pidfile "$PWD/var/docker/pid" > var/docker/log 2>&1 < /dev/null &
    for _ in $(seq 60); do answers && break || sleep 1; done
fi
answers || give_up "dockerd does not start here: $(tail -1 var/docker/log | cut -c1-300)"
[ "$(docker info --format '{{.Driver}}')" != vfs ] || give_up "this machine has no layered file system for images."
docker run --help > /dev/null && [ -d /sys/fs/cgroup ] || give_up "this machine has no cgroups."
