data "aws_caller_identity" "this" {}
data "aws_region" "this" {}

locals {
  region    = data.aws_region.this.name
  account   = data.aws_caller_identity.this.account_id
  workspace = "/app/infra/dagster/workspace.yaml"
  lake_url  = "s3://${var.bucket_names["lake"]}/platform"
  raw_url   = "s3://${var.bucket_names["raw"]}/landing"

  dagster_secrets = {
    DAGSTER_POSTGRES_USER     = "${var.database.password_secret_arn}:username::"
    DAGSTER_POSTGRES_PASSWORD = "${var.database.password_secret_arn}:password::"
  }
  run_secrets = { for variable, name in local.secret_names : variable => aws_secretsmanager_secret.this[name].arn if variable != "TNT_API_KEY" }

  # A check per role that costs no second Python with Dagster in it, but for the daemon, whose heartbeat only Dagster knows.
  get = "import sys,urllib.request as u; u.urlopen(sys.argv[1],timeout=5)"
  roles = {
    webserver = {
      command = ["dagster-webserver", "--host", "0.0.0.0", "--port", "3000", "--workspace", local.workspace]
      port    = 3000
      check   = { command = ["CMD", "python", "-c", local.get, "http://127.0.0.1:3000/server_info"], interval = 30, timeout = 10 }
      secrets = local.dagster_secrets
    }
    daemon = {
      command = ["dagster-daemon", "run", "--workspace", local.workspace]
      port    = null
      check   = { command = ["CMD", "dagster-daemon", "liveness-check"], interval = 300, timeout = 60 }
      secrets = local.dagster_secrets
    }
    code = {
      command = ["dagster", "code-server", "start", "--host", "0.0.0.0", "--port", "4000", "--module-name", "tnt_platform.definitions", "--location-name", "tnt_platform"]
      port    = 4000
      check   = { command = ["CMD", "python", "-c", "import socket; socket.create_connection(('127.0.0.1',4000),5)"], interval = 30, timeout = 10 }
      secrets = local.dagster_secrets
    }
    api = {
      command = ["tnt", "serve", "--host", "0.0.0.0", "--port", "8800"]
      port    = 8800
      check   = { command = ["CMD", "python", "-c", local.get, "http://127.0.0.1:8800/health/live"], interval = 30, timeout = 10 }
      secrets = { TNT_API_KEY = aws_secretsmanager_secret.this["api-key"].arn }
    }
    run = {
      # Replaced by the launcher; a task that is started by hand without a command says so and ends.
      command = ["tnt", "--help"]
      port    = null
      check   = null
      secrets = merge(local.dagster_secrets, local.run_secrets)
    }
  }

  environment = merge({
    AWS_REGION               = local.region
    TNT_HOME                 = "/tmp/tnt"
    TNT_LAKE_URL             = local.lake_url
    TNT_RAW_URL              = local.raw_url
    TNT_EVENT_QUEUE_URL      = var.queues["events"].url
    TNT_CAPTURE_QUEUE_URL    = var.queues["captures"].url
    TNT_RESULTS_TABLE        = var.table_names["results"]
    TNT_RECORDS_TABLE        = var.table_names["records"]
    TNT_LOCK_TABLE           = var.table_names["leases"]
    SNS_PROJECTION_TOPIC_ARN = var.updates_topic_arn
    TNT_DAGSTER_URL          = "https://${var.domains.ui}"
    TNT_DAGSTER_API_URL      = "http://webserver.${aws_service_discovery_private_dns_namespace.this.name}:3000"
    TNT_TASK_VCPU            = tostring(var.sizes["run"].cpu / 1024)
    TNT_TASK_MEMORY_GB       = tostring(var.sizes["run"].memory / 1024)
    DAGSTER_POSTGRES_HOST    = var.database.host
    DAGSTER_POSTGRES_PORT    = "5432"
    DAGSTER_POSTGRES_DB      = "dagster"
    PGSSLMODE                = "require"
    TNT_RUN_LOG_BUCKET       = var.bucket_names["run-logs"]
    TNT_CODE_SERVER_HOST     = "code.${aws_service_discovery_private_dns_namespace.this.name}"
  }, var.settings)

  # What infra/dagster/dagster.yaml needs to launch runs; the run's own task definition can't name itself.
  launcher_environment = {
    TNT_CLUSTER             = aws_ecs_cluster.this.arn
    TNT_RUN_TASK_DEFINITION = aws_ecs_task_definition.run.arn
    TNT_RUN_SUBNETS         = jsonencode(var.private_subnet_ids)
    TNT_RUN_SECURITY_GROUPS = jsonencode([var.security_group_ids["runs"]])
    TNT_RUN_CPU             = tostring(var.sizes["run"].cpu)
    TNT_RUN_MEMORY          = tostring(var.sizes["run"].memory)
  }

  containers = {
    for role, spec in local.roles : role => merge({
      name                   = role
      image                  = var.image
      essential              = true
      command                = spec.command
      user                   = "10001:10001"
      readonlyRootFilesystem = true
      cpu                    = var.sizes[role].cpu
      memory                 = var.sizes[role].memory
      stopTimeout            = 120
      linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
      mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
      environment            = [for variable, value in local.environment : { name = variable, value = value }]
      secrets                = [for variable, arn in spec.secrets : { name = variable, valueFrom = arn }]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this[role].name
          awslogs-region        = local.region
          awslogs-stream-prefix = role
          # A burst of log lines must not hold up a run.
          mode            = "non-blocking"
          max-buffer-size = "4m"
        }
      }
      },
      spec.port == null ? {} : { portMappings = [{ containerPort = spec.port, hostPort = spec.port, protocol = "tcp" }] },
      spec.check == null ? {} : {
        healthCheck = { command = spec.check.command, interval = spec.check.interval, timeout = spec.check.timeout, retries = 3, startPeriod = 180 }
      },
    )
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each          = local.roles
  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_task_definition" "run" {
  family                   = "${var.name}-run"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.sizes["run"].cpu
  memory                   = var.sizes["run"].memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task["run"].arn
  container_definitions    = jsonencode([local.containers["run"]])
  # Runs that wait in the queue still name the last revision: it is not deregistered.
  skip_destroy = !var.destroyable
  volume {
    name = "tmp"
  }
}

resource "aws_ecs_task_definition" "service" {
  for_each                 = { for role, spec in local.roles : role => spec if role != "run" }
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.sizes[each.key].cpu
  memory                   = var.sizes[each.key].memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task[each.key].arn
  container_definitions = jsonencode([merge(local.containers[each.key], {
    environment = concat(local.containers[each.key].environment, each.key == "api" ? [] : [
      for variable, value in local.launcher_environment : { name = variable, value = value }
    ])
  })])
  skip_destroy = !var.destroyable
  volume {
    name = "tmp"
  }
}
