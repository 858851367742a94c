# Who may do what. Every statement names its resources; where AWS knows no resource for an action, a condition narrows it.
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:ecs:${local.region}:${local.account}:*"]
    }
  }
}

# What ECS itself does to start a task: pull the image, read secrets, open log streams.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "PullImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [var.repository_arn]
  }
  statement {
    sid     = "RegistryLogin"
    actions = ["ecr:GetAuthorizationToken"]
    # AWS knows no resource for this action.
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [local.region]
    }
  }
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = concat([for secret in aws_secretsmanager_secret.this : secret.arn], [var.database.password_secret_arn])
  }
  statement {
    sid       = "DecryptSecrets"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${local.region}.amazonaws.com"]
    }
  }
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for group in aws_cloudwatch_log_group.this : "${group.arn}:*"]
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "start-tasks"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role" "task" {
  for_each           = local.roles
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

locals {
  raw_arn  = var.bucket_arns["raw"]
  lake_arn = var.bucket_arns["lake"]
  logs_arn = var.bucket_arns["run-logs"]

  # The building blocks of the roles below.
  grants = {
    read-lake     = { actions = ["s3:GetObject"], resources = ["${local.lake_arn}/platform/*"], conditions = [] }
    list-lake     = { actions = ["s3:ListBucket"], resources = [local.lake_arn], conditions = [["StringLike", "s3:prefix", ["platform/*"]]] }
    write-lake    = { actions = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], resources = ["${local.lake_arn}/platform/*"], conditions = [] }
    read-raw      = { actions = ["s3:GetObject"], resources = ["${local.raw_arn}/landing/*"], conditions = [] }
    list-raw      = { actions = ["s3:ListBucket"], resources = [local.raw_arn], conditions = [["StringLike", "s3:prefix", ["landing/*"]]] }
    capture       = { actions = ["s3:PutObject"], resources = ["${local.raw_arn}/landing/raw/*"], conditions = [] }
    read-run-log  = { actions = ["s3:GetObject"], resources = ["${local.logs_arn}/runs/*"], conditions = [] }
    list-run-log  = { actions = ["s3:ListBucket"], resources = [local.logs_arn], conditions = [["StringLike", "s3:prefix", ["runs/*"]]] }
    write-run-log = { actions = ["s3:PutObject"], resources = ["${local.logs_arn}/runs/*"], conditions = [] }
    bucket-key = {
      actions    = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources  = [var.kms_key_arn]
      conditions = [["StringEquals", "kms:ViaService", ["s3.${local.region}.amazonaws.com", "sqs.${local.region}.amazonaws.com", "sns.${local.region}.amazonaws.com", "dynamodb.${local.region}.amazonaws.com"]]]
    }
    leases   = { actions = ["dynamodb:GetItem", "dynamodb:PutItem"], resources = [var.table_arns["leases"]], conditions = [] }
    items    = { actions = ["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem"], resources = [var.table_arns["results"], var.table_arns["records"]], conditions = [] }
    notify   = { actions = ["sns:Publish"], resources = [var.updates_topic_arn], conditions = [] }
    captures = { actions = ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], resources = [var.queues["captures"].arn], conditions = [] }
    events   = { actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], resources = [var.queues["events"].arn], conditions = [] }
    depth    = { actions = ["sqs:GetQueueAttributes"], resources = [var.queues["events"].arn], conditions = [] }
    # AWS knows no resource for DescribeTaskDefinition.
    describe-definition = { actions = ["ecs:DescribeTaskDefinition"], resources = ["*"], conditions = [["StringEquals", "aws:RequestedRegion", [local.region]]] }
    watch-runs          = { actions = ["ecs:DescribeTasks", "ecs:StopTask"], resources = ["arn:aws:ecs:${local.region}:${local.account}:task/${var.name}/*"], conditions = [["ArnEquals", "ecs:cluster", [aws_ecs_cluster.this.arn]]] }
    launch-runs         = { actions = ["ecs:RunTask"], resources = ["arn:aws:ecs:${local.region}:${local.account}:task-definition/${var.name}-run:*"], conditions = [["ArnEquals", "ecs:cluster", [aws_ecs_cluster.this.arn]]] }
    tag-runs            = { actions = ["ecs:TagResource"], resources = ["arn:aws:ecs:${local.region}:${local.account}:task/${var.name}/*"], conditions = [["StringEquals", "ecs:CreateAction", ["RunTask"]]] }
    pass-run-roles      = { actions = ["iam:PassRole"], resources = [aws_iam_role.execution.arn, aws_iam_role.task["run"].arn], conditions = [["StringEquals", "iam:PassedToService", ["ecs-tasks.amazonaws.com"]]] }
    read-task-logs      = { actions = ["logs:GetLogEvents"], resources = ["${aws_cloudwatch_log_group.this["run"].arn}:*"], conditions = [] }
  }

  allowed = {
    webserver = ["describe-definition", "watch-runs", "read-run-log", "list-run-log", "bucket-key"]
    daemon    = ["describe-definition", "watch-runs", "launch-runs", "tag-runs", "pass-run-roles", "read-task-logs", "read-run-log", "list-run-log", "bucket-key"]
    # Sensors are evaluated here: they compare the bucket with the lake and take events off the queue.
    code = ["read-lake", "list-lake", "read-raw", "list-raw", "events", "bucket-key"]
    api  = ["read-lake", "list-lake", "depth", "bucket-key"]
    run  = ["read-lake", "list-lake", "write-lake", "read-raw", "list-raw", "capture", "read-run-log", "list-run-log", "write-run-log", "leases", "items", "notify", "captures", "bucket-key"]
  }
}

data "aws_iam_policy_document" "task" {
  for_each = local.allowed
  dynamic "statement" {
    for_each = { for grant in each.value : grant => local.grants[grant] }
    content {
      sid       = replace(title(replace(statement.key, "-", " ")), " ", "")
      actions   = statement.value.actions
      resources = statement.value.resources
      dynamic "condition" {
        for_each = statement.value.conditions
        content {
          test     = condition.value[0]
          variable = condition.value[1]
          values   = condition.value[2]
        }
      }
    }
  }
}

resource "aws_iam_role_policy" "task" {
  for_each = local.allowed
  name     = "what-${each.key}-does"
  role     = aws_iam_role.task[each.key].id
  policy   = data.aws_iam_policy_document.task[each.key].json
}
