#!/usr/bin/env bash
# Builds both images: `make images`. Prints sizes and layers, and whether the bases are stand-ins.
#
#   TORCH=cpu|cuda   which build of torch the worker gets. cpu, if docker/wheels/ or pip's find-links folder has one;
#                    else it must be asked for, because it is 6 GB: without, only the API's image is built (exit 3)
#   TAG=dev          their tag
set -euo pipefail
cd "$(dirname "$0")/.."
docker/engine.sh || exit $?
tag=${TAG:-dev}
if ! compgen -G "docker/wheels/torch-*.whl" > /dev/null && compgen -G "${PIP_FIND_LINKS:-/nowhere}/torch-*+cpu*.whl" > /dev/null; then
    mkdir -p docker/wheels
    cp "$PIP_FIND_LINKS"/torch*+cpu*.whl docker/wheels/
fi
if compgen -G "docker/wheels/torch-*.whl" > /dev/null; then TORCH=${TORCH:-cpu}; fi
base=${BASE:-python:3.13-slim-trixie}
if ! docker image inspect "$base" > /dev/null 2>&1 && ! timeout 120 docker pull --quiet "$base" > /dev/null 2>&1; then
    echo "No hub gives $base: stand-ins are made (docker/stand-ins/make.sh)."
    docker/stand-ins/make.sh
    base=$(docker images --format '{{.Repository}}:{{.Tag}}' cleanclip-stand-in/python | head -1)
fi
docker buildx version > /dev/null 2>&1 || export DOCKER_BUILDKIT=0
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
for name in api worker; do
    if [ $name = worker ] && [ -z "${TORCH:-}" ]; then
        echo "cleanclip/worker was not built: docker/wheels/ has no CPU build of torch. TORCH=cuda builds the large one." >&2
        exit 3
    fi
    started=$(date +%s)
    docker build --quiet --network host --file "docker/$name.Dockerfile" \
        --build-arg BASE="$base" $([ $name = api ] || echo --build-arg TORCH="$TORCH") \
        --build-arg VERSION="$version" --build-arg REVISION="$(git rev-parse HEAD 2> /dev/null || echo unknown)" \
        --build-arg CREATED="$(date --utc +%FT%TZ)" --tag "cleanclip/$name:$tag" . > /dev/null 2> "$errors" ||
        { cat "$errors" >&2; exit 1; }
    echo "cleanclip/$name:$tag (base $base$([ $name = api ] || echo ", torch for $TORCH")), built in $(($(date +%s) - started)) s"
    docker history --format '{{.Size}}\t{{.CreatedBy}}' --no-trunc "cleanclip/$name:$tag" | grep -v '^0B' | cut -c1-110
done
