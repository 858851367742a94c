# One image for every role: web UI, daemon, code server, runs. The base is pinned by digest through the build argument.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /app
RUN python -m venv /venv
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY tnt_platform ./tnt_platform
RUN /venv/bin/pip install --no-cache-dir --no-compile -c constraints.txt -e .

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="tnt_platform" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 10001 tnt
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY dagster.yaml workspace.yaml ./
ENV PATH=/venv/bin:$PATH DAGSTER_HOME=/app TNT_HOME=/tmp/tnt PYTHONUNBUFFERED=1
USER tnt
EXPOSE 3000 4000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["python", "-c", "import tnt_platform.settings"]
CMD ["dagster", "code-server", "start", "--host", "0.0.0.0", "--port", "4000", "-m", "tnt_platform.definitions"]
