# What happened, as events: a pointer moved (a publish), a report was written, a task ended badly. Each rule counts
# itself in AWS/Events, which the alarms below watch; the log group keeps the events to look at.
data "aws_caller_identity" "this" {}
data "aws_region" "this" {}

locals {
  rules = {
    publish = {
      description = "A dataset's pointer moved: something was published"
      pattern = {
        source      = ["aws.s3"]
        detail-type = ["Object Created"]
        detail      = { bucket = { name = [var.lake_bucket] }, object = { key = [{ suffix = "/index/current_version.txt" }] } }
      }
    }
    report = {
      description = "A daily report was written"
      pattern = {
        source      = ["aws.s3"]
        detail-type = ["Object Created"]
        detail      = { bucket = { name = [var.lake_bucket] }, object = { key = [{ wildcard = "*/reports/*.json" }] } }
      }
    }
    failed-task = {
      description = "A task of the cluster ended with another exit code than 0, or never started"
      pattern = {
        source      = ["aws.ecs"]
        detail-type = ["ECS Task State Change"]
        detail = {
          clusterArn = [var.cluster.arn]
          lastStatus = ["STOPPED"]
          # A task that never started (no image, no secret, no capacity) has no exit code.
          "$or" = [{ containers = { exitCode = [{ anything-but = 0 }] } }, { stopCode = ["TaskFailedToStart"] }]
        }
      }
    }
  }
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each      = local.rules
  name          = "${var.name}-${each.key}"
  description   = each.value.description
  event_pattern = jsonencode(each.value.pattern)
}

resource "aws_cloudwatch_log_group" "events" {
  name              = "/${var.name}/events"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

data "aws_iam_policy_document" "events" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.events.arn}:*"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com", "delivery.logs.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for rule in aws_cloudwatch_event_rule.this : rule.arn]
    }
  }
}

resource "aws_cloudwatch_log_resource_policy" "events" {
  policy_name     = "${var.name}-events"
  policy_document = data.aws_iam_policy_document.events.json
}

resource "aws_cloudwatch_event_target" "events" {
  for_each = aws_cloudwatch_event_rule.this
  rule     = each.value.name
  arn      = aws_cloudwatch_log_group.events.arn
}
