# syntax=docker/dockerfile:1
# The image of Dragoman: all mappings of /mappings, on port 8080.
#   docker build --tag dragoman .
#   docker run --publish 8080:8080 --env DRAGOMAN_API_KEYS --volume ./mappings:/mappings:ro dragoman
# All dependencies are pinned with hashes in deploy/*.lock; `make lock` updates them.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY deploy/requirements-build.lock deploy/requirements.lock deploy/
RUN python -m venv /opt/build && /opt/build/bin/python -m pip install --require-hashes --requirement deploy/requirements-build.lock
RUN python -m venv /opt/dragoman && /opt/dragoman/bin/python -m pip install --only-binary :all: --require-hashes --requirement deploy/requirements.lock
COPY pyproject.toml README.md ./
COPY engine engine
COPY cli cli
COPY schema schema
COPY mappings mappings
RUN /opt/build/bin/python -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist .
RUN /opt/dragoman/bin/python -m pip install --no-deps --no-index dist/dragoman-*.whl && /opt/dragoman/bin/python -m pip uninstall --yes pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="Dragoman" \
      org.opencontainers.image.description="A declarative routing proxy: one YAML file puts one HTTP API in front of another." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.documentation="docs/operations.md"
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
