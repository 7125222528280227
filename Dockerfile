# syntax=docker/dockerfile:1
# The image of http and gateway pods, of `modbot single` and of the operator's verbs. Dockerfile.config makes the one of config pods.
#
# Versions are exact tags. For a release pin digests too, without touching this file:
#   docker build --build-arg PYTHON_IMAGE=python:3.11.15-slim-bookworm@sha256:… --build-arg UV_IMAGE=… --build-arg LITESTREAM_IMAGE=… .
# `docker buildx imagetools inspect IMAGE` prints the digest of a tag.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm
ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.13.9
ARG LITESTREAM_IMAGE=litestream/litestream:0.5.17

FROM ${UV_IMAGE} AS uv
FROM ${LITESTREAM_IMAGE} AS litestream

FROM ${PYTHON_IMAGE} AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/modbot \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY pyproject.toml uv.lock ./
# The dependencies first: they change less often than the code, and their layer stays.
RUN uv sync --frozen --no-dev --extra tracing --extra single --no-install-project
COPY LICENSE README.md ./
COPY src src
RUN uv sync --frozen --no-dev --extra tracing --extra single --no-editable

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="modbot" \
      org.opencontainers.image.description="A Discord moderation bot for large communities that scales sideways and keeps SQLite as its database." \
      org.opencontainers.image.source="https://github.com/reactiflux/mod-bot" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# curl is for probes and for people who look for a fault with `kubectl exec`.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends "curl=7.88.*" \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 modbot \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin modbot \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data /replicas
COPY --from=litestream /usr/local/bin/litestream /usr/local/bin/litestream
COPY --from=build /opt/modbot /opt/modbot
ENV PATH=/opt/modbot/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
EXPOSE 3000 3001
STOPSIGNAL SIGTERM
# Each service listens on 3000, the config service on 3001.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/bin/sh", "-c", "[ \"$SERVICE_MODE\" = config ] && port=3001; exec curl --fail --silent http://127.0.0.1:${port:-3000}/health"]
ENTRYPOINT ["modbot"]
