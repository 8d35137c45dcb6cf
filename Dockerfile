# One image for every role: the command line says which. Built for amd64 and arm64: the digest is of the list of both.
# A newer one: docker buildx imagetools inspect python:3.13-slim-trixie
FROM python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS base

FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The environment has no pip of its own: the one of the build stage fills it, and only it is copied.
RUN python -m venv --without-pip /opt/wms
COPY pyproject.toml setup.cfg constraints.txt README.md LICENSE beat_schedule.py ./
COPY migrations/ migrations/
COPY wms_tasks/ wms_tasks/
# The wheel first, and from it the install: what runs is what a release ships. No compiler is here, so wheels only.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels . && \
    pip --python /opt/wms/bin/python install --only-binary :all: -c constraints.txt "$(echo /wheels/*.whl)[aiven]"

FROM base
ARG VERSION=0.3.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="wms-tasks" \
      org.opencontainers.image.description="A website monitor on Celery, Kafka and Postgres" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13.15-slim-trixie"
RUN groupadd --gid 10001 wms && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin wms
COPY --from=build /opt/wms /opt/wms
# USER and LOGNAME: yoyo asks who runs it, and a uid that a platform makes up has no line in /etc/passwd.
# Nothing is written outside /tmp, so the root file system may be read-only.
ENV PATH=/opt/wms/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp USER=wms LOGNAME=wms \
    WMS_SITES=/etc/wms/sites.yaml \
    WMS_METRICS_PORT=8080
WORKDIR /etc/wms
# A number, so that Kubernetes' runAsNonRoot can check it.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['WMS_METRICS_PORT']), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
CMD ["wms", "run"]
