#!/usr/bin/env bash
# rollback.sh ENVIRONMENT [IMAGE]: back to the image before the deployed one, or to IMAGE. Runs no migrations: an older
# image doesn't know the revisions of a newer one and would fail there; it works on them, since migrations only add.
source "$(dirname "$0")/settings.sh"
choose_environment "${1:-}"
terraform -chdir="$folder" init -input=false \
  -backend-config="bucket=${STATE_BUCKET:?the output account.state_bucket of infra/bootstrap}"

# The newest revision of the run task definition that has another image than the deployed one; dev's old ones are inactive.
image_before() {
  local revisions image
  revisions=$(for status in ACTIVE INACTIVE; do
    aws ecs list-task-definitions --family-prefix "tnt-$1-run" --status "$status" --query taskDefinitionArns --output text
  done | tr '\t' '\n' | grep : | sort -t: -k7,7nr)
  for revision in $revisions; do
    image=$(aws ecs describe-task-definition --task-definition "$revision" \
      --query 'taskDefinition.containerDefinitions[0].image' --output text)
    [ "$image" = "$2" ] || { echo "$image" && return; }
  done
}

deployed=$(deployment image)
image=${2:-$(image_before "$1" "$deployed")}
[[ $image =~ @sha256:[0-9a-f]{64}$ ]] || die "no older image is known; name one by digest: repository@sha256:..."
echo "from $deployed back to $image" >&2
cluster=$(deployment cluster)
apply() { terraform -chdir="$folder" apply -input=false -auto-approve -var "image=$image" "$@"; }

for service in code daemon webserver; do
  echo "== $service" >&2
  apply -target="module.platform.module.compute.aws_ecs_service.fixed[\"$service\"]"
  aws ecs wait services-stable --cluster "$cluster" --services "$service"
done
echo "== API and all else" >&2
apply
aws ecs wait services-stable --cluster "$cluster" --services api
echo "rolled back to $image" >&2
