# The HTTP service, the migrations and the sweeper. No torch is installed in this image.
FROM python:3.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY sanitizer sanitizer
COPY worker worker
COPY client client
RUN /opt/venv/bin/pip install --constraint constraints.txt ".[api]"

FROM python:3.13-slim-trixie
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin cleanclip
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
COPY migrations migrations
COPY alembic.ini ./
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENV CLEANCLIP_API__HOST=0.0.0.0 CLEANCLIP_API__PORT=8000
CMD ["python", "-m", "app.main"]
