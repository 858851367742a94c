# shellcheck shell=bash
# Sourced by the scripts beside it: which environment, and what Terraform says it consists of.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
  echo "$0: $*" >&2
  exit 1
}

choose_environment() {
  folder="$here/envs/${1:-}"
  [ -n "${1:-}" ] && [ -d "$folder" ] || die "name an environment: $(cd "$here/envs" && echo ./* | sed 's|\./||g')"
}

# deployment KEY: a value of the output `platform.deployment`, text as it is and all else as JSON.
deployment() {
  terraform -chdir="$folder" output -json platform | python3 -c '
import json, sys
value = json.load(sys.stdin)["deployment"][sys.argv[1]]
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}
