# Each description ends with the paragraph of docs/aws.md that says what to do.
locals {
  day_s   = 86400
  silence = var.running ? "breaching" : "notBreaching"

  alarms = {
    failed-task = {
      about     = "A task ended with a non-zero exit code or never started.", page = "failed-task"
      namespace = "AWS/Events", metric = "MatchedEvents", dimensions = { RuleName = "${var.name}-failed-task" }
      statistic = "Sum", period = 300, compare = "GreaterThanThreshold", threshold = 0, missing = "notBreaching"
    }
    no-publish = {
      about     = "No dataset was published for 24 hours.", page = "no-publish"
      namespace = "AWS/Events", metric = "MatchedEvents", dimensions = { RuleName = "${var.name}-publish" }
      statistic = "Sum", period = local.day_s, compare = "LessThanThreshold", threshold = 1, missing = local.silence
    }
    no-report = {
      about     = "No daily report was written for 24 hours.", page = "no-report"
      namespace = "AWS/Events", metric = "MatchedEvents", dimensions = { RuleName = "${var.name}-report" }
      statistic = "Sum", period = local.day_s, compare = "LessThanThreshold", threshold = 1, missing = local.silence
    }
    long-run = {
      about     = "A run exceeded its longest duration and was stopped.", page = "long-run"
      namespace = var.name, metric = "RunsThatTookTooLong", dimensions = {}
      statistic = "Sum", period = 300, compare = "GreaterThanThreshold", threshold = 0, missing = "notBreaching"
    }
    dead-events = {
      about     = "A message about a file could not be understood five times.", page = "dead-letters"
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = var.queues["events-dead"].name }
      statistic = "Maximum", period = 300, compare = "GreaterThanThreshold", threshold = 0, missing = "notBreaching"
    }
    dead-captures = {
      about     = "A capture could not be curated five times.", page = "dead-letters"
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = var.queues["captures-dead"].name }
      statistic = "Maximum", period = 300, compare = "GreaterThanThreshold", threshold = 0, missing = "notBreaching"
    }
    old-events = {
      about     = "Nobody has taken a message about a file for an hour: the sensor stands still.", page = "old-events"
      namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = var.queues["events"].name }
      statistic = "Maximum", period = 300, compare = "GreaterThanThreshold", threshold = 3600, missing = "notBreaching"
    }
    balancer-5xx = {
      about     = "The load balancer itself answers with errors: no healthy task.", page = "5xx"
      namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", dimensions = { LoadBalancer = var.balancer_suffix }
      statistic = "Sum", period = 300, compare = "GreaterThanThreshold", threshold = 5, missing = "notBreaching"
    }
    database-storage = {
      about     = "Less than a fifth of the database's storage is free.", page = "database-storage"
      namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = { DBInstanceIdentifier = var.database.identifier }
      statistic = "Minimum", period = 300, compare = "LessThanThreshold", threshold = var.database.storage_gb * 1024 * 1024 * 1024 / 5, missing = "missing"
    }
    no-daemon = {
      about     = "No daemon task runs: nothing is scheduled or launched.", page = "no-daemon"
      namespace = "ECS/ContainerInsights", metric = "RunningTaskCount", dimensions = { ClusterName = var.cluster.name, ServiceName = "daemon" }
      statistic = "Maximum", period = 900, compare = "LessThanThreshold", threshold = 1, missing = local.silence
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.about} docs/aws.md#${each.value.page}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = 1
  comparison_operator = each.value.compare
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = [var.alarms_topic_arn]
  ok_actions          = [var.alarms_topic_arn]
}

# Dagster's run monitoring stops a run after max_runtime_seconds of infra/dagster/dagster.yaml and says so.
resource "aws_cloudwatch_log_metric_filter" "long_run" {
  name           = "${var.name}-long-run"
  log_group_name = var.daemon_log_group
  pattern        = "\"has exceeded maximum runtime\""
  metric_transformation {
    name      = "RunsThatTookTooLong"
    namespace = var.name
    value     = "1"
  }
}

resource "aws_budgets_budget" "month" {
  name         = "${var.name}-month"
  budget_type  = "COST"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"
  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:environment$%s", var.name)]
  }
  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }
    content {
      notification_type         = notification.key
      comparison_operator       = "GREATER_THAN"
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      subscriber_sns_topic_arns = [var.alarms_topic_arn]
    }
  }
}
