# syntax=docker/dockerfile:1
# The image of Dragoman: all mappings of /mappings, on port 8080.
#   make image                                     builds dragoman:VERSION with docker; ENGINE=podman or buildah
#   docker build --tag dragoman .
#   docker run --publish 8080:8080 --env DRAGOMAN_API_KEYS --volume ./mappings:/mappings:ro dragoman
# All dependencies are pinned with hashes in deploy/*.lock; `make lock` updates them.
#
# A private package index: --secret id=pip.conf,src=FILE, and --secret id=ca.crt,src=FILE for its certificate authority
# (`cert = /run/secrets/ca.crt` in that pip.conf). Secrets are in no layer of the image.

# Any image with Python 3.11 or later as /usr/local/bin/python, such as that of deploy/base-image.sh; the same for both
# stages. The digest is of Python 3.13.15 on Debian trixie, for all architectures. To update it:
#   docker buildx imagetools inspect python:3.13-slim --format '{{.Manifest.Digest}}'
ARG BASE=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY deploy/requirements-build.lock deploy/requirements.lock deploy/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    python -m venv /opt/build && /opt/build/bin/python -m pip install --require-hashes --requirement deploy/requirements-build.lock
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    python -m venv /opt/dragoman && /opt/dragoman/bin/python -m pip install --only-binary :all: --require-hashes --requirement deploy/requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY cli cli
COPY schema schema
COPY mappings mappings
RUN /opt/build/bin/python -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist .
# The build fails if the version of the labels is not that of the wheel.
ARG VERSION=0.1.0
RUN /opt/dragoman/bin/python -m pip install --no-deps --no-index dist/dragoman-${VERSION}-py3-none-any.whl && /opt/dragoman/bin/python -m pip uninstall --yes pip

FROM ${BASE}
# A stage sees only the arguments that it declares. BASE has the value from above.
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Dragoman" \
      org.opencontainers.image.description="A declarative routing proxy: one YAML file puts one HTTP API in front of another." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.vendor="Dragoman contributors" \
      org.opencontainers.image.url="https://dragoman.example/" \
      org.opencontainers.image.source="https://dragoman.example/source/" \
      org.opencontainers.image.documentation="https://dragoman.example/docs/" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /opt/dragoman /opt/dragoman
ENV PATH=/opt/dragoman/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DRAGOMAN_MAPPINGS=/mappings \
    DRAGOMAN_HOST=0.0.0.0 \
    DRAGOMAN_PORT=8080 \
    DRAGOMAN_ADMIN=127.0.0.1:9090 \
    DRAGOMAN_LOG_FORMAT=json
WORKDIR /mappings
VOLUME ["/mappings"]
USER 65532:65532
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Requests /livez from the address in DRAGOMAN_ADMIN.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["dragoman", "healthcheck"]
ENTRYPOINT ["dragoman"]
CMD ["serve"]
