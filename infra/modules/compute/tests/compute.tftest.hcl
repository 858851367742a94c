# Policies are read from a real plan by tnt_platform_tests/infra; here the documents are checked before they are rendered.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/tnt/1" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/tnt/1/2" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/tnt/1" }
  }
  mock_resource "aws_cognito_user_pool" {
    defaults = { arn = "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_1" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:us-east-1:123456789012:cluster/tnt-test" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/tnt-test-run:7" }
  }
  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-1" }
  }
}

variables {
  name                = "tnt-test"
  image               = "repository@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  repository_arn      = "arn:aws:ecr:us-east-1:123456789012:repository/tnt-platform"
  running             = true
  vpc_id              = "vpc-1"
  public_subnet_ids   = ["subnet-1", "subnet-2"]
  private_subnet_ids  = ["subnet-3", "subnet-4"]
  security_group_ids  = { balancer = "sg-1", services = "sg-2", runs = "sg-3" }
  kms_key_arn         = "arn:aws:kms:us-east-1:123456789012:key/data"
  bucket_names        = { raw = "raw", lake = "lake", run-logs = "run-logs", access-logs = "access-logs" }
  bucket_arns         = { raw = "arn:aws:s3:::raw", lake = "arn:aws:s3:::lake", run-logs = "arn:aws:s3:::run-logs" }
  table_names         = { leases = "leases", results = "results", records = "records" }
  table_arns          = { leases = "arn:l", results = "arn:r", records = "arn:c" }
  queues              = { events = { url = "https://q/e", arn = "arn:e", name = "e" }, captures = { url = "https://q/c", arn = "arn:c", name = "c" } }
  updates_topic_arn   = "arn:aws:sns:us-east-1:123456789012:updates"
  alarms_topic_arn    = "arn:aws:sns:us-east-1:123456789012:alarms"
  database            = { host = "db.internal", password_secret_arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db" }
  settings            = {}
  api_tasks           = { least = 2, most = 8 }
  certificate_arn     = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  domains             = { ui = "dagster.example.com", api = "data.example.com" }
  login_domain_prefix = "example"
  log_retention_days  = 400
  destroyable         = false
  sizes = {
    webserver = { cpu = 512, memory = 2048 }
    daemon    = { cpu = 512, memory = 2048 }
    code      = { cpu = 1024, memory = 2048 }
    api       = { cpu = 512, memory = 1024 }
    run       = { cpu = 2048, memory = 4096 }
  }
}

# One run: each starts the provider anew.
run "what_is_asked_for_is_made" {
  command = apply

  # There is exactly one daemon and never two.
  assert {
    condition = (
      aws_ecs_service.fixed["daemon"].desired_count == 1 &&
      aws_ecs_service.fixed["daemon"].deployment_maximum_percent == 100 &&
      aws_ecs_service.fixed["daemon"].deployment_minimum_healthy_percent == 0
    )
    error_message = "Two daemons would launch everything twice, even for the minute of a deployment."
  }

  # The daemon launches an explicit revision on the runs network.
  assert {
    condition = anytrue([
      for variable in jsondecode(aws_ecs_task_definition.service["daemon"].container_definitions)[0].environment :
      variable.name == "TNT_RUN_TASK_DEFINITION" && can(regex(":[0-9]+$", variable.value))
    ])
    error_message = "A family without a revision is pinned by the launcher without saying so."
  }
  assert {
    condition = anytrue([
      for variable in jsondecode(aws_ecs_task_definition.service["daemon"].container_definitions)[0].environment :
      variable.name == "TNT_RUN_SECURITY_GROUPS" && variable.value == jsonencode(["sg-3"])
    ])
    error_message = "Runs must not have the services' security group."
  }

  # A run task has the size that was asked for and no launchers settings.
  assert {
    condition     = aws_ecs_task_definition.run.cpu == "2048" && aws_ecs_task_definition.run.memory == "4096"
    error_message = "The run task definition has another size."
  }
  assert {
    condition = alltrue([
      for variable in jsondecode(aws_ecs_task_definition.run.container_definitions)[0].environment :
      !startswith(variable.name, "TNT_RUN_TASK")
    ])
    error_message = "A run launches nothing."
  }

  # Every container is read only unprivileged and logged.
  assert {
    condition = alltrue([
      for definition in concat([aws_ecs_task_definition.run], values(aws_ecs_task_definition.service)) : alltrue([
        for container in jsondecode(definition.container_definitions) : (
          container.readonlyRootFilesystem && container.user == "10001:10001" &&
          container.linuxParameters.capabilities.drop == ["ALL"] && container.logConfiguration.logDriver == "awslogs"
        )
      ])
    ])
    error_message = "A container may write its image, is root or has capabilities."
  }
  assert {
    condition = alltrue([
      for definition in values(aws_ecs_task_definition.service) :
      can(jsondecode(definition.container_definitions)[0].healthCheck.command)
    ])
    error_message = "A service without a health check is never replaced."
  }

  # Services have no public address and roll back.
  assert {
    condition = alltrue([
      for service in concat(values(aws_ecs_service.fixed), [aws_ecs_service.api]) :
      !service.network_configuration[0].assign_public_ip && service.deployment_circuit_breaker[0].rollback
    ])
    error_message = "A service is public or doesn't roll back."
  }

  # A service that answers with errors is rolled back by its alarm.
  assert {
    condition = {
      for name, service in merge(aws_ecs_service.fixed, { api = aws_ecs_service.api }) :
      name => [for watched in service.alarms : tolist(watched.alarm_names)[0] if watched.enable && watched.rollback]
    } == { webserver = ["tnt-test-webserver-5xx"], api = ["tnt-test-api-5xx"], code = [], daemon = [] }
    error_message = "Whoever answers requests is judged by its answers; the others by the circuit breaker alone."
  }

  # The api grows between its limits.
  assert {
    condition     = aws_appautoscaling_target.api.min_capacity == 2 && aws_appautoscaling_target.api.max_capacity == 8
    error_message = "The limits are not those asked for."
  }
  assert {
    condition     = aws_appautoscaling_policy.api.target_tracking_scaling_policy_configuration[0].target_value == 60
    error_message = "It grows too late, or never shrinks."
  }

  # Runs may go to spot.
  assert {
    condition     = aws_ecs_cluster_capacity_providers.this.capacity_providers == toset(["FARGATE", "FARGATE_SPOT"])
    error_message = "A run with the tag for Spot would be refused."
  }

  # Every log group expires and has our key.
  assert {
    condition = alltrue([
      for group in concat(values(aws_cloudwatch_log_group.this), [aws_cloudwatch_log_group.insights]) :
      group.retention_in_days == 400 && group.kms_key_id == var.kms_key_arn
    ])
    error_message = "Kept for ever, or not with our key."
  }

  # The balancer logs who asked and speaks modern tls.
  assert {
    condition     = aws_lb.this.access_logs[0].enabled && aws_lb.this.access_logs[0].bucket == "access-logs" && aws_lb.this.drop_invalid_header_fields && aws_lb.this.enable_deletion_protection
    error_message = "Requests leave no trace, or the balancer can be deleted."
  }
  assert {
    condition     = startswith(aws_lb_listener.https.ssl_policy, "ELBSecurityPolicy-TLS13")
    error_message = "Old versions of TLS are accepted."
  }

  # Nobody reaches the ui without a login.
  assert {
    condition     = [for action in aws_lb_listener_rule.ui.action : action.type] == ["authenticate-cognito", "forward"]
    error_message = "The Dagster UI has no login of its own."
  }
  assert {
    condition     = aws_lb_listener.https.default_action[0].type == "fixed-response" && aws_lb_listener.http.default_action[0].type == "redirect"
    error_message = "Other names must not lead anywhere, and HTTP only to HTTPS."
  }

  # Only the daemon may launch.
  assert {
    condition     = [for role, grants in local.allowed : role if contains(grants, "launch-runs") || contains(grants, "pass-run-roles")] == ["daemon"]
    error_message = "Only the daemon launches runs."
  }
  assert {
    condition     = alltrue([for grant in local.grants : alltrue([for action in grant.actions : !strcontains(action, "*")])])
    error_message = "Actions are named one by one."
  }
  assert {
    condition     = alltrue([for grant in local.grants : !contains(grant.resources, "*") || length(grant.conditions) > 0])
    error_message = "A statement for all resources needs a condition."
  }
}

run "a_paused_environment_runs_nothing" {
  command = plan
  variables {
    running = false
  }
  assert {
    condition     = alltrue([for service in aws_ecs_service.fixed : service.desired_count == 0]) && aws_appautoscaling_target.api.max_capacity == 0
    error_message = "A service still runs."
  }
}

run "an_image_by_tag_is_refused" {
  command = plan
  variables {
    image = "repository:latest"
  }
  expect_failures = [var.image]
}
