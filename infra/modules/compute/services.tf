# Container Insights would make it itself, not with our key.
resource "aws_cloudwatch_log_group" "insights" {
  name              = "/aws/ecs/containerinsights/${var.name}/performance"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
  depends_on = [aws_cloudwatch_log_group.insights]
}

# Runs ask for Spot by their tags; the rest runs on Fargate.
resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${var.name}.internal"
  description = "How services find the code server and the web UI"
  vpc         = var.vpc_id
}

# The API asks the web UI for failed runs: not by way of the load balancer, where people sign in.
resource "aws_service_discovery_service" "this" {
  for_each = toset(["code", "webserver"])
  name     = each.key
  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"
    dns_records {
      type = "A"
      ttl  = 10
    }
  }
}

locals {
  services = {
    # A second daemon would launch everything twice: the old one stops before the new one starts.
    daemon    = { tasks = 1, minimum_percent = 0, maximum_percent = 100, target = null }
    code      = { tasks = 1, minimum_percent = 100, maximum_percent = 200, target = null }
    webserver = { tasks = 1, minimum_percent = 100, maximum_percent = 200, target = "webserver" }
    api       = { tasks = var.api_tasks.least, minimum_percent = 100, maximum_percent = 200, target = "api" }
  }
}

resource "aws_ecs_service" "fixed" {
  for_each                           = { for role, service in local.services : role => service if role != "api" }
  name                               = each.key
  cluster                            = aws_ecs_cluster.this.arn
  task_definition                    = aws_ecs_task_definition.service[each.key].arn
  desired_count                      = var.running ? each.value.tasks : 0
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  deployment_minimum_healthy_percent = each.value.minimum_percent
  deployment_maximum_percent         = each.value.maximum_percent
  propagate_tags                     = "SERVICE"
  enable_ecs_managed_tags            = true
  health_check_grace_period_seconds  = each.value.target == null ? null : 180

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [var.security_group_ids["services"]]
    assign_public_ip = false
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "alarms" {
    for_each = each.value.target == null ? [] : [aws_cloudwatch_metric_alarm.errors[each.key].alarm_name]
    content {
      alarm_names = [alarms.value]
      enable      = true
      rollback    = true
    }
  }

  dynamic "load_balancer" {
    for_each = each.value.target == null ? [] : [each.value.target]
    content {
      target_group_arn = aws_lb_target_group.this[load_balancer.value].arn
      container_name   = each.key
      container_port   = local.roles[each.key].port
    }
  }

  dynamic "service_registries" {
    for_each = contains(keys(aws_service_discovery_service.this), each.key) ? [each.key] : []
    content {
      registry_arn = aws_service_discovery_service.this[service_registries.value].arn
    }
  }

  depends_on = [aws_lb_listener.https, aws_iam_role_policy.task]
}

resource "aws_ecs_service" "api" {
  name                               = "api"
  cluster                            = aws_ecs_cluster.this.arn
  task_definition                    = aws_ecs_task_definition.service["api"].arn
  desired_count                      = var.running ? var.api_tasks.least : 0
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  propagate_tags                     = "SERVICE"
  enable_ecs_managed_tags            = true
  health_check_grace_period_seconds  = 60

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [var.security_group_ids["services"]]
    assign_public_ip = false
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  alarms {
    alarm_names = [aws_cloudwatch_metric_alarm.errors["api"].alarm_name]
    enable      = true
    rollback    = true
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this["api"].arn
    container_name   = "api"
    container_port   = 8800
  }

  lifecycle {
    # Autoscaling moves it.
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.https, aws_iam_role_policy.task]
}

resource "aws_appautoscaling_target" "api" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.api.name}"
  min_capacity       = var.running ? var.api_tasks.least : 0
  max_capacity       = var.running ? var.api_tasks.most : 0
}

resource "aws_appautoscaling_policy" "api" {
  name               = "${var.name}-api-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.api.service_namespace
  scalable_dimension = aws_appautoscaling_target.api.scalable_dimension
  resource_id        = aws_appautoscaling_target.api.resource_id
  target_tracking_scaling_policy_configuration {
    target_value       = 60
    scale_in_cooldown  = 300
    scale_out_cooldown = 60
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
