#!/usr/bin/env bash
# Builds both images at once: `make images`. Prints sizes and layers, and whether the bases are stand-ins.
#
#   TORCH=cpu|cuda   which build of torch the worker gets. cpu, if docker/wheels/ or pip's find-links folder has one;
#                    else it must be asked for, because it is 6 GB: without, only the API's image is built
#   TAG=dev          their tag
#
# Ends with 3 where bases or packages cannot be reached from here.
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
if ! docker image inspect "$base" > /dev/null 2>&1 && ! timeout 30 docker pull --quiet "$base" > /dev/null 2>&1; then
    echo "No hub gives $base: stand-ins are made (docker/stand-ins/make.sh)."
    began=$SECONDS
    docker/stand-ins/make.sh
    echo "stand-ins took $((SECONDS - began)) s"
    base=$(docker images --format '{{.Repository}}:{{.Tag}}' cleanclip-stand-in/python | head -1)
fi
docker run --rm --interactive --network host "$base" python -m pip download --quiet --disable-pip-version-check \
    --no-deps --require-hashes --dest /tmp --requirement /dev/stdin < docker/requirements/build.txt > /dev/null || {
    echo "Containers were NOT run: no package index answers from inside a container." >&2
    exit 3
}
docker buildx version > /dev/null 2>&1 || export DOCKER_BUILDKIT=0
logs=$(mktemp --directory)
trap 'rm -rf "$logs"' EXIT
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

building=$SECONDS
told() { # where time is over: what each image had of it
    for name in api worker; do
        [ ! -e "$logs/$name" ] || [ -e "$logs/$name.built" ] ||
            echo "cleanclip/$name:$tag was NOT built within $((SECONDS - building)) s; its finished layers are kept"
    done
    exit 124
}
trap told INT

build() { # name, more arguments of `docker build`
    local name=$1 started=$SECONDS
    shift
    docker build --quiet --network host --file "docker/$name.Dockerfile" --build-arg BASE="$base" "$@" \
        --build-arg VERSION="$version" --build-arg REVISION="$(git rev-parse HEAD 2> /dev/null || echo unknown)" \
        --build-arg CREATED="$(date --utc +%FT%TZ)" --tag "cleanclip/$name:$tag" . > /dev/null 2> "$logs/$name" ||
        { cat "$logs/$name" >&2; return 1; }
    touch "$logs/$name.built"
    echo "cleanclip/$name:$tag (base $base$([ $# = 0 ] || echo ", torch for $TORCH")), built in $((SECONDS - started)) s"
    docker history --format '{{.Size}}\t{{.CreatedBy}}' --no-trunc "cleanclip/$name:$tag" | grep -v '^0B' | cut -c1-110
}

if [ -n "${TORCH:-}" ]; then
    build worker --build-arg TORCH="$TORCH" &
    worker=$!
else
    echo "cleanclip/worker is not built: docker/wheels/ has no CPU build of torch. TORCH=cuda builds the large one."
fi
build api
[ -z "${worker:-}" ] || wait "$worker"
