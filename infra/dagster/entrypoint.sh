#!/bin/sh
# The image's entrypoint: writes the instance's settings where they can be written, then becomes the command.
# Dagster reads the environment only where its schema says so; a run's subnets are not such a place.
set -eu
here=$(dirname "$0")
if [ -n "${DAGSTER_POSTGRES_HOST:-}" ]; then
  export DAGSTER_HOME="${DAGSTER_HOME:-/tmp/dagster}"
  mkdir -p "$DAGSTER_HOME"
  python -c 'import os,sys; sys.stdout.write(os.path.expandvars(sys.stdin.read()))' \
    <"$here/dagster.yaml" >"$DAGSTER_HOME/dagster.yaml"
else
  # No database: a laptop. State goes below the folder it is started in.
  export DAGSTER_HOME="${DAGSTER_HOME:-$here/../..}"
fi
exec "$@"
