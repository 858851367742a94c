# One image for every role: web UI, daemon, code server, API, runs.
# CI passes the base by digest (.github/workflows/image.yml); the tag is for a laptop.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /venv
COPY constraints-production.txt ./
RUN /venv/bin/pip install --no-deps --require-hashes -r constraints-production.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY tnt_platform ./tnt_platform
# The extra `local` stays out, and `pip check` says whether constraints-production.txt lacks a package.
# Editable: Dagster looks for defs/ and dagster.yaml beside the package. Compiled here, since a task can't write its root
# and would compile every module anew at each start. Afterwards pip, the packages' own tests and what only compilers
# read are of no use.
RUN /venv/bin/pip install --no-deps --no-build-isolation -e . \
    && /venv/bin/pip check \
    && /venv/bin/python -m compileall -q /app/tnt_platform \
    && /venv/bin/pip uninstall -y pip setuptools \
    && find /venv/lib -type d -name tests -prune -exec rm -rf {} + \
    && find /venv/lib -type f '(' -name "*.h" -o -name "*.hpp" -o -name "*.a" -o -name "*.pyi" \
        -o -name "*.pxd" -o -name "*.pyx" ')' -delete

FROM ${PYTHON_IMAGE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tnt_platform" \
      org.opencontainers.image.description="Raw files become versioned, validated, traceable results" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --no-create-home --home-dir /tmp --uid 10001 --shell /usr/sbin/nologin tnt
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY dagster.yaml workspace.yaml /app/
COPY infra/dagster /app/infra/dagster
# The root is read-only in production: everything that is written goes below /tmp.
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    TNT_HOME=/tmp/tnt \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
VOLUME ["/tmp"]
EXPOSE 3000 4000 8800
# The code server's; ECS has a check for each role of its own (infra/modules/compute/tasks.tf).
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
  CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 4000), 5)"]
ENTRYPOINT ["/app/infra/dagster/entrypoint.sh"]
CMD ["dagster", "code-server", "start", "--host", "0.0.0.0", "--port", "4000", "--module-name", "tnt_platform.definitions", "--location-name", "tnt_platform"]
