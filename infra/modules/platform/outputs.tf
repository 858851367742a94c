output "deployment" {
  description = "What infra/scripts need."
  value = {
    image               = var.image
    cluster             = module.compute.cluster.name
    run_task_definition = module.compute.run_task_definition_arn
    run_network         = module.compute.run_network
    services            = module.compute.service_names
    secrets             = module.compute.secret_names
    log_groups          = module.compute.log_groups
  }
}

output "buckets" {
  value = module.storage.bucket_names
}

output "tables" {
  value = module.storage.table_names
}

output "queues" {
  value = module.messaging.queues
}

output "topics" {
  value = module.messaging.topic_arns
}

output "balancer" {
  description = "Point the names of the UI and the API here."
  value       = module.compute.balancer
}

output "github_role_arns" {
  value = module.cicd.role_arns
}
