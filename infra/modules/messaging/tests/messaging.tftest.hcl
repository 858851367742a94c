mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:us-east-1:123456789012:made" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:made" }
  }
}

variables {
  name          = "tnt-test"
  kms_key_arn   = "arn:aws:kms:us-east-1:123456789012:key/data"
  raw_bucket    = { name = "raw", arn = "arn:aws:s3:::raw" }
  other_buckets = { lake = "lake" }
  alarm_emails  = ["on-call@example.com"]
}

# One run: each starts the provider anew.
run "what_is_asked_for_is_made" {
  command = apply

  # Every queue and topic is encrypted with our key.
  assert {
    condition     = alltrue([for made in concat(values(aws_sqs_queue.this), values(aws_sqs_queue.dead), values(aws_sns_topic.this)) : made.kms_master_key_id == var.kms_key_arn])
    error_message = "A queue or topic has another key, or none."
  }

  # What is not understood five times is kept apart for two weeks.
  assert {
    condition = alltrue([
      for name, queue in aws_sqs_queue.this : jsondecode(queue.redrive_policy) == { deadLetterTargetArn = aws_sqs_queue.dead[name].arn, maxReceiveCount = 5 }
    ])
    error_message = "A message that nobody understands would come back for ever."
  }
  assert {
    condition     = alltrue([for dead in aws_sqs_queue.dead : dead.message_retention_seconds == 1209600])
    error_message = "A dead letter must outlive a holiday."
  }
  assert {
    condition     = alltrue([for allowed in aws_sqs_queue_redrive_allow_policy.dead : jsondecode(allowed.redrive_allow_policy).redrivePermission == "byQueue"])
    error_message = "Another queue could send its dead letters here."
  }

  # New and removed raw files are told to the queue and every bucket tells eventbridge.
  assert {
    condition     = toset(one(aws_s3_bucket_notification.raw.queue).events) == toset(["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]) && aws_s3_bucket_notification.raw.eventbridge
    error_message = "The sensor would learn of it by the sweep only."
  }
  assert {
    condition     = alltrue([for told in aws_s3_bucket_notification.other : told.eventbridge])
    error_message = "The alarms count publishes by EventBridge."
  }

  # People hear of alarms.
  assert {
    condition     = toset(keys(aws_sns_topic.this)) == toset(["dataset-updates", "alarms"]) && aws_sns_topic_subscription.alarm_email["on-call@example.com"].protocol == "email"
    error_message = "A topic is missing, or nobody listens."
  }
}
