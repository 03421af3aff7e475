#!/usr/bin/env bash
# CI's last step: builds the images and runs docker-compose.yml with them, the quick course, in LIMIT_S (600) at most.
# Where no engine, base image or package can be had here, it says that containers were NOT run and why, and ends with 0.
# Ends with 1 if an image cannot be built, or if what was started fails.
set -uo pipefail
cd "$(dirname "$0")/.."
limit_s=${LIMIT_S:-600}
# Layers and stand-ins outlive the checkout: what one run built, the next one does not build again.
kept=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/cleanclip
export DOCKER_DATA=${DOCKER_DATA:-$kept/docker} STAND_IN_CACHE=${STAND_IN_CACHE:-$kept/stand-ins}
trial_s=240 # kept for the trial: images that take longer than the rest are for `make compose-test` by hand

part() { # seconds, name, command …: prints how long it took
    local seconds=$1 name=$2 began=$SECONDS code=0
    shift 2
    timeout --signal=INT --kill-after=60 "$seconds" "$@" || code=$?
    echo "containers: $name took $((SECONDS - began)) s"
    return $code
}

not_run() { # what it ended with, what
    if [ "$1" = 124 ]; then echo "Containers were NOT run: $2 took too long here."; fi
    exit 0
}

trap 'docker/engine.sh stop' EXIT
part 420 "the engine" docker/engine.sh || not_run $? "installing an engine"
part $((limit_s - trial_s - SECONDS)) "building the images" docker/images.sh
case $? in
0) ;;
3 | 124) not_run $? "building the images" ;;
*) exit 1 ;;
esac
part $((limit_s - SECONDS)) "the trial" .venv/bin/python -m tests.containers.compose --quick || exit 1
echo "containers: $SECONDS s of $limit_s s in all"
