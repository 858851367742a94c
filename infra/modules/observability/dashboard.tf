locals {
  region = data.aws_region.this.name
  # Title -> lines of [namespace, metric, dimension, value, ...].
  graphs = {
    "Publishes and reports" = [
      ["AWS/Events", "MatchedEvents", "RuleName", "${var.name}-publish"],
      ["AWS/Events", "MatchedEvents", "RuleName", "${var.name}-report"],
    ]
    "Tasks that ended badly" = [["AWS/Events", "MatchedEvents", "RuleName", "${var.name}-failed-task"]]
    "Messages waiting" = [
      for queue in values(var.queues) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue.name]
    ]
    "CPU of the services, percent" = [
      for service in ["webserver", "daemon", "code", "api"] :
      ["AWS/ECS", "CPUUtilization", "ClusterName", var.cluster.name, "ServiceName", service]
    ]
    "Memory of the services, percent" = [
      for service in ["webserver", "daemon", "code", "api"] :
      ["AWS/ECS", "MemoryUtilization", "ClusterName", var.cluster.name, "ServiceName", service]
    ]
    "Answers of the load balancer" = [
      ["AWS/ApplicationELB", "RequestCount", "LoadBalancer", var.balancer_suffix],
      ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "LoadBalancer", var.balancer_suffix],
    ]
    "Database: free storage, bytes" = [["AWS/RDS", "FreeStorageSpace", "DBInstanceIdentifier", var.database.identifier]]
    "Database: connections"         = [["AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", var.database.identifier]]
  }
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for at, title in keys(local.graphs) : {
        type       = "metric"
        x          = (at % 2) * 12
        y          = floor(at / 2) * 6
        width      = 12
        height     = 6
        properties = { title = title, region = local.region, stat = "Sum", period = 300, view = "timeSeries", metrics = local.graphs[title] }
      }
    ]
  })
}
