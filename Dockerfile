# One image for web and worker: docs/running/container.md.
FROM docker.io/library/python:3.13-slim-trixie AS build
COPY . /source
RUN /source/deploy/install.sh /opt/batchsite \
    && /opt/batchsite/.venv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check \
        sentry-sdk==2.75.0

FROM docker.io/library/python:3.13-slim-trixie
# tini passes signals on and buries dead processes. PostgreSQL's programs make its backups: they may
# not be older than the server in compose.yml.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 batchsite \
    && useradd --uid 10001 --gid batchsite --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin batchsite \
    && install --directory --owner=batchsite --group=batchsite --mode=0700 /var/lib/batchsite /backup
COPY --from=build /opt/batchsite /opt/batchsite

ENV DATA_DIR=/var/lib/batchsite \
    BIND=0.0.0.0:8000 \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME ["/var/lib/batchsite"]
EXPOSE 8000
# No urllib.request: where HTTP_PROXY is set, it would ask the proxy.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/opt/batchsite/.venv/bin/python", "-IS", "-c", "from http.client import HTTPConnection; site = HTTPConnection('127.0.0.1', 8000, timeout=4); site.request('GET', '/healthz'); raise SystemExit(site.getresponse().status != 200)"]
ENTRYPOINT ["tini", "--", "/opt/batchsite/entrypoint.sh"]
CMD ["serve"]
