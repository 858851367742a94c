#!/usr/bin/env bash
# deploy.sh ENVIRONMENT IMAGE: migrations, then code server, daemon, web UI, API. An older image rolls back.
source "$(dirname "$0")/settings.sh"
choose_environment "${1:-}"
image=${2:-}
[[ $image =~ @sha256:[0-9a-f]{64}$ ]] || die "name the image by digest: repository@sha256:..."
apply() { terraform -chdir="$folder" apply -input=false -auto-approve -var "image=$image" "$@"; }

terraform -chdir="$folder" init -input=false \
  -backend-config="bucket=${STATE_BUCKET:?the output account.state_bucket of infra/bootstrap}"
compute=module.platform.module.compute

echo "== the run task definition of this image" >&2
apply -target="$compute.aws_ecs_task_definition.run"
echo "== migrations of Dagster's and of our own tables, before anything runs the new code" >&2
# Terraform's outputs still name the old revision after a targeted apply.
TASK_DEFINITION=$(aws ecs describe-task-definition --task-definition "tnt-$1-run" \
  --query taskDefinition.taskDefinitionArn --output text)
TASK_DEFINITION=$TASK_DEFINITION "$here/scripts/run-task.sh" "$1" sh -c "dagster instance migrate && tnt migrate"

cluster=$(deployment cluster)
# The others ask the code server what there is to run; the daemon launches it; then come those that only look.
for service in code daemon webserver; do
  echo "== $service" >&2
  apply -target="$compute.aws_ecs_service.fixed[\"$service\"]"
  aws ecs wait services-stable --cluster "$cluster" --services "$service"
done
echo "== API and all else" >&2
apply
aws ecs wait services-stable --cluster "$cluster" --services api
echo "deployed $image" >&2
