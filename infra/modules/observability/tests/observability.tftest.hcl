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
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:made" }
  }
}

variables {
  name               = "tnt-test"
  alarms_topic_arn   = "arn:aws:sns:us-east-1:123456789012:alarms"
  kms_key_arn        = "arn:aws:kms:us-east-1:123456789012:key/data"
  log_retention_days = 400
  cluster            = { arn = "arn:aws:ecs:us-east-1:123456789012:cluster/tnt-test", name = "tnt-test" }
  daemon_log_group   = "/tnt-test/daemon"
  lake_bucket        = "lake"
  queues = {
    events        = { url = "https://q/e", arn = "arn:e", name = "e" }
    captures      = { url = "https://q/c", arn = "arn:c", name = "c" }
    events-dead   = { url = "https://q/ed", arn = "arn:ed", name = "ed" }
    captures-dead = { url = "https://q/cd", arn = "arn:cd", name = "cd" }
  }
  database           = { identifier = "tnt-test", storage_gb = 50 }
  balancer_suffix    = "app/tnt/1"
  running            = true
  monthly_budget_usd = 800
}

# One run: each starts the provider anew.
run "what_is_asked_for_is_made" {
  command = apply

  # There is an alarm for everything that goes wrong and people hear of it.
  assert {
    condition = length(setsubtract(
      ["failed-task", "no-publish", "no-report", "long-run", "dead-events", "dead-captures", "old-events", "balancer-5xx", "database-storage", "no-daemon"],
      keys(aws_cloudwatch_metric_alarm.this),
    )) == 0
    error_message = "An alarm is missing."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset([var.alarms_topic_arn])])
    error_message = "An alarm that nobody hears."
  }

  # A day without a publish or report alarms although there is nothing to count.
  assert {
    condition = alltrue([
      for name in ["no-publish", "no-report"] :
      aws_cloudwatch_metric_alarm.this[name].period == 86400 && aws_cloudwatch_metric_alarm.this[name].treat_missing_data == "breaching"
    ])
    error_message = "Silence is what these two are for."
  }

  # Alarms count what the rules match.
  assert {
    condition = alltrue([
      for name, rule in { failed-task = "failed-task", no-publish = "publish", no-report = "report" } :
      aws_cloudwatch_metric_alarm.this[name].dimensions["RuleName"] == aws_cloudwatch_event_rule.this[rule].name
    ])
    error_message = "An alarm watches a rule that isn't there."
  }
  assert {
    condition     = strcontains(aws_cloudwatch_event_rule.this["failed-task"].event_pattern, "TaskFailedToStart") && strcontains(aws_cloudwatch_event_rule.this["failed-task"].event_pattern, "exitCode")
    error_message = "A task that never starts has no exit code, and is a failure too."
  }

  # The budget warns before it is spent.
  assert {
    condition     = { for notice in aws_budgets_budget.month.notification : notice.notification_type => notice.threshold } == { ACTUAL = 80, FORECASTED = 100 }
    error_message = "Money is gone before anybody hears of it."
  }
  assert {
    condition     = tonumber(aws_budgets_budget.month.limit_amount) == 800
    error_message = "Another amount than asked for."
  }

  # The dashboard is readable json with every queue on it.
  assert {
    condition     = length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets) == length(local.graphs) && alltrue([for queue in var.queues : strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "\"${queue.name}\"")])
    error_message = "A graph or a queue is missing."
  }
}

run "a_paused_environment_is_silent_without_alarm" {
  command = apply
  variables {
    running = false
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.treat_missing_data != "breaching"])
    error_message = "A paused environment publishes nothing."
  }
}
