#!/usr/bin/env bash
# Builds both images: `make images`. Prints sizes and layers, and whether the bases are stand-ins.
#
#   TORCH=cpu|cuda   which build of torch the worker gets (cpu: from docker/wheels/; default: cpu if it is there)
#   TAG=dev          their tag
set -euo pipefail
cd "$(dirname "$0")/.."
docker/engine.sh || exit $?
tag=${TAG:-dev}
if [ -z "${TORCH:-}" ]; then
    if compgen -G "docker/wheels/torch-*.whl" > /dev/null; then TORCH=cpu; else TORCH=cuda; fi
fi
base=${BASE:-python:3.13-slim-trixie}
if ! docker image inspect "$base" > /dev/null 2>&1 && ! docker pull --quiet "$base" > /dev/null 2>&1; then
    echo "No hub gives $base: stand-ins are made (docker/stand-ins/make.sh)."
    docker/stand-ins/make.sh
    base=$(docker images --format '{{.Repository}}:{{.Tag}}' cleanclip-stand-in/python | head -1)
fi
docker buildx version > /dev/null 2>&1 || export DOCKER_BUILDKIT=0
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
for name in api worker; do
    started=$(date +%s)
    docker build --quiet --network host --file "docker/$name.Dockerfile" \
        --build-arg BASE="$base" $([ $name = api ] || echo --build-arg TORCH="$TORCH") \
        --build-arg VERSION="$version" --build-arg REVISION="$(git rev-parse HEAD 2> /dev/null || echo unknown)" \
        --build-arg CREATED="$(date --utc +%FT%TZ)" --tag "cleanclip/$name:$tag" . > /dev/null 2> "$errors" ||
        { cat "$errors" >&2; exit 1; }
    echo "cleanclip/$name:$tag (base $base$([ $name = api ] || echo ", torch for $TORCH")), built in $(($(date +%s) - started)) s"
    docker history --format '{{.Size}}\t{{.CreatedBy}}' --no-trunc "cleanclip/$name:$tag" | grep -v '^0B' | cut -c1-110
done
