#!/usr/bin/env bash
# run-task.sh ENVIRONMENT COMMAND...: one command in a run task, such as `run-task.sh prod tnt verify`; waits for its end.
# TASK_DEFINITION names another revision than the deployed one.
source "$(dirname "$0")/settings.sh"
choose_environment "${1:-}"
[ $# -ge 2 ] || die "what should run? $0 ENVIRONMENT COMMAND..."
shift
cluster=$(deployment cluster)
overrides=$(python3 -c '
import json, sys
print(json.dumps({"containerOverrides": [{"name": "run", "command": sys.argv[1:]}]}))' "$@")
task=$(aws ecs run-task --cluster "$cluster" --launch-type FARGATE \
  --task-definition "${TASK_DEFINITION:-$(deployment run_task_definition)}" \
  --network-configuration "$(deployment run_network)" --overrides "$overrides" \
  --query 'tasks[0].taskArn' --output text)
[ "$task" != None ] || die "ECS started no task; look at the events of the cluster $cluster"
echo "started $task" >&2
# The waiter gives up after ten minutes; a task may take longer.
until [ "$(aws ecs describe-tasks --cluster "$cluster" --tasks "$task" --query 'tasks[0].lastStatus' --output text)" = STOPPED ]; do
  sleep "${POLL_S:-10}"
done
code=$(aws ecs describe-tasks --cluster "$cluster" --tasks "$task" --query 'tasks[0].containers[0].exitCode' --output text)
if [ "$code" != 0 ]; then
  aws ecs describe-tasks --cluster "$cluster" --tasks "$task" --query 'tasks[0].stoppedReason' --output text >&2
  die "it ended with ${code}; its lines: logs.sh for the role run"
fi
