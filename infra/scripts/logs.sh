#!/usr/bin/env bash
# logs.sh ENVIRONMENT ROLE [SINCE]: the lines of webserver, daemon, code, api or run, from 1h ago, and what comes.
source "$(dirname "$0")/settings.sh"
choose_environment "${1:-}"
group=$(deployment log_groups | python3 -c 'import json,sys; print(json.load(sys.stdin).get(sys.argv[1], ""))' "${2:-}")
[ -n "$group" ] || die "name a role: webserver, daemon, code, api or run"
exec aws logs tail "$group" --since "${3:-1h}" --follow --format short
