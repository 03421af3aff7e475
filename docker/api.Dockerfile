# The HTTP service, the migrations, the sweeper and the deliverer. No torch is installed in this image.
# Three layers of ours: packages (change with docker/requirements/), the code (a few MB), labels. `make images` builds it.
ARG BASE=python:3.13-slim-trixie
FROM ${BASE} AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/venv
COPY docker/requirements/api.txt /requirements.txt
RUN python -m pip --python /opt/venv/bin/python install --require-hashes --no-deps --only-binary :all: \
        --requirement /requirements.txt \
    && /opt/venv/bin/python -c "import sysconfig; print('/opt/cleanclip', \
        file=open(sysconfig.get_path('purelib') + '/cleanclip.pth', 'w'))"

FROM ${BASE} AS code
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/build
COPY docker/requirements/build.txt /requirements.txt
RUN python -m pip --python /opt/build/bin/python install --require-hashes --no-deps --requirement /requirements.txt
WORKDIR /src
COPY . .
RUN python -m pip --python /opt/build/bin/python install --no-deps --no-build-isolation --target /opt/cleanclip \
        . ./cleanclip

FROM ${BASE}
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin cleanclip
COPY --from=packages /opt/venv /opt/venv
COPY --from=code /opt/cleanclip /opt/cleanclip
ENV PATH=/opt/venv/bin:/opt/cleanclip/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    CLEANCLIP_API__HOST=0.0.0.0 CLEANCLIP_API__PORT=8000
WORKDIR /srv
USER 10001
EXPOSE 8000
# Of the API alone: other processes of this image are asked otherwise (docker-compose.yml).
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["python", "-m", "app.main"]
ARG VERSION=0 REVISION=unknown CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="CleanCLIP API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
