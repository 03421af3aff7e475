# A worker. TORCH=cuda: the CUDA libraries come with torch's own wheels for Linux; the driver comes from the host
# through the NVIDIA container runtime, and without a GPU the same image runs on the CPU. TORCH=cpu: a tenth of the size;
# such a build of torch is not on the common index: put its wheels into docker/wheels/ (`make images TORCH=cpu`).
# Four layers of ours: torch, the other packages, the code (a few MB), labels.
ARG BASE=python:3.13-slim-trixie
FROM ${BASE} AS packages
ARG TORCH=cuda
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/venv 
COPY docker/requirements/torch-${TORCH}.txt docker/wheels/*.whl /wheels/
# --target: a layer of its own, which stays as it is while the packages beside it change. Without a CPU build in
# docker/wheels/, `--no-index` fails here: the index would give the CUDA build without its libraries.
# hadolint ignore=SC2046
RUN python -m pip --python /opt/venv/bin/python install --no-deps --only-binary :all: --target /opt/torch \
        $(test "${TORCH}" = cuda || echo "--no-index --find-links /wheels") \
        --requirement "/wheels/torch-${TORCH}.txt"
COPY docker/requirements/worker.txt /requirements.txt
RUN python -m pip --python /opt/venv/bin/python install --require-hashes --no-deps --only-binary :all: \
        --requirement /requirements.txt \
    && /opt/venv/bin/python -c "import sysconfig; print('/opt/cleanclip\n/opt/torch', \
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
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin cleanclip \
    && install -d -o 10001 -g 10001 -m 0700 /work /signing
COPY --from=packages /opt/torch /opt/torch
COPY --from=packages /opt/venv /opt/venv
COPY --from=code /opt/cleanclip /opt/cleanclip
ENV PATH=/opt/venv/bin:/opt/cleanclip/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    CLEANCLIP_WORKER__WORK_DIR=/work
WORKDIR /srv
USER 10001
VOLUME /work
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-m", "worker.health"]
CMD ["celery", "--app", "worker.celery_app", "worker", "--concurrency", "1", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
ARG VERSION=0 REVISION=unknown CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="CleanCLIP worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
