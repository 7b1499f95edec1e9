# syntax=docker/dockerfile:1
# One image for web and worker: docs/running/container.md.
FROM python:3.13-slim-trixie AS build
COPY . /source
RUN /source/deploy/install.sh /opt/batchsite \
    && /opt/batchsite/.venv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check \
        sentry-sdk==2.75.0

FROM python:3.13-slim-trixie
# tini passes signals on and buries dead processes. PostgreSQL's programs make its backups: they may
# not be older than the server in compose.yml.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 batchsite \
    && useradd --system --uid 10001 --gid batchsite --no-create-home --home-dir /nonexistent batchsite \
    && install --directory --owner=batchsite --group=batchsite --mode=0700 /var/lib/batchsite /backup
COPY --from=build /opt/batchsite /opt/batchsite

ENV DATA_DIR=/var/lib/batchsite \
    BIND=0.0.0.0:8000 \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME ["/var/lib/batchsite"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/opt/batchsite/.venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--", "/opt/batchsite/entrypoint.sh"]
CMD ["serve"]
