# A worker. The CUDA libraries come with torch's own wheels for Linux; the driver comes from the host through the
# NVIDIA container runtime. Without a GPU the same image runs on the CPU.
FROM python:3.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY sanitizer sanitizer
COPY worker worker
COPY client client
RUN /opt/venv/bin/pip install --constraint constraints.txt ".[worker]"

FROM python:3.13-slim-trixie
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin cleanclip \
    && install -d -o 10001 -g 10001 /work
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    CLEANCLIP_WORKER__WORK_DIR=/work
USER 10001
VOLUME /work
CMD ["celery", "--app", "worker.celery_app", "worker", "--concurrency", "1", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
