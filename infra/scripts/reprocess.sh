#!/usr/bin/env bash
# reprocess.sh ENVIRONMENT DATASET DATE [LAST_DATE]: read and publish these dates again, in a task of their own.
source "$(dirname "$0")/settings.sh"
choose_environment "${1:-}"
[[ ${3:-} =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] || die "$0 ENVIRONMENT DATASET YYYY-MM-DD [YYYY-MM-DD]"
"$here/scripts/run-task.sh" "$1" tnt run "$2" --from "$3" --to "${4:-$3}"
