output "cluster" {
  value = { arn = aws_ecs_cluster.this.arn, name = aws_ecs_cluster.this.name }
}

output "run_task_definition_arn" {
  value = aws_ecs_task_definition.run.arn
}

output "run_network" {
  description = "As `aws ecs run-task --network-configuration` takes it."
  value = {
    awsvpcConfiguration = {
      subnets        = var.private_subnet_ids
      securityGroups = [var.security_group_ids["runs"]]
      assignPublicIp = "DISABLED"
    }
  }
}

output "role_arns" {
  value = merge({ execution = aws_iam_role.execution.arn }, { for role, made in aws_iam_role.task : role => made.arn })
}

output "secret_names" {
  description = "Secrets that need a value before the services start."
  value       = [for secret in aws_secretsmanager_secret.this : secret.name]
}

output "log_groups" {
  value = { for role, group in aws_cloudwatch_log_group.this : role => group.name }
}

output "balancer" {
  value = { dns_name = aws_lb.this.dns_name, zone_id = aws_lb.this.zone_id, suffix = aws_lb.this.arn_suffix }
}

output "service_names" {
  value = concat([for service in aws_ecs_service.fixed : service.name], [aws_ecs_service.api.name])
}
