mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/data" }
  }
}

variables {
  name             = "tnt-test"
  raw_days         = 400
  old_version_days = 90
  log_days         = 400
  destroyable      = false
}

# One run: each starts the provider anew.
run "what_is_asked_for_is_made" {
  command = apply

  # Every bucket is private versioned and encrypted with our key.
  assert {
    condition     = toset(keys(aws_s3_bucket.this)) == toset(["raw", "lake", "run-logs"])
    error_message = "A bucket was added or is missing: look at the assertions below too."
  }
  assert {
    condition = alltrue([
      for block in concat(values(aws_s3_bucket_public_access_block.this), [aws_s3_bucket_public_access_block.access_logs]) :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "A bucket could be made public."
  }
  assert {
    condition     = alltrue([for made in aws_s3_bucket_versioning.this : made.versioning_configuration[0].status == "Enabled"])
    error_message = "A bucket keeps no old versions."
  }
  assert {
    condition = alltrue([
      for made in aws_s3_bucket_server_side_encryption_configuration.this :
      one(one(made.rule).apply_server_side_encryption_by_default).kms_master_key_id == aws_kms_key.data.arn
    ])
    error_message = "A bucket is not encrypted with the environment's key."
  }
  assert {
    condition     = aws_kms_key.data.enable_key_rotation && aws_kms_key.data.deletion_window_in_days == 30
    error_message = "The key must rotate, and deleting it must take a month."
  }

  # Only raw files and logs expire and the lake never does.
  assert {
    condition = {
      for role, made in aws_s3_bucket_lifecycle_configuration.this :
      role => flatten([for rule in made.rule : [for expiry in rule.expiration : expiry.days]])
    } == { raw = [400], lake = [], run-logs = [400] }
    error_message = "Published data must never expire by age; raw files and logs must."
  }
  assert {
    condition = alltrue([
      for made in aws_s3_bucket_lifecycle_configuration.this :
      anytrue([for rule in made.rule : length(rule.abort_incomplete_multipart_upload) == 1])
    ])
    error_message = "Uploads that broke off must be cleared away."
  }

  # Old versions go and every access is logged.
  assert {
    condition = alltrue([
      for made in aws_s3_bucket_lifecycle_configuration.this :
      anytrue([for rule in made.rule : try(rule.noncurrent_version_expiration[0].noncurrent_days, 0) == 90])
    ])
    error_message = "Old versions are paid for, for ever."
  }
  assert {
    condition     = { for role, logged in aws_s3_bucket_logging.this : role => logged.target_bucket } == { for role in ["raw", "lake", "run-logs"] : role => aws_s3_bucket.access_logs.id }
    error_message = "Nobody knows who read a bucket."
  }

  # Tables are keyed as the code writes them and can be restored.
  assert {
    condition = {
      for role, table in aws_dynamodb_table.this : role => join(" ", compact([table.hash_key, table.range_key]))
    } == { leases = "lock_key", results = "test_id", records = "source item_id" }
    error_message = "The code writes other keys than these."
  }
  assert {
    condition = alltrue([
      for table in aws_dynamodb_table.this :
      table.point_in_time_recovery[0].enabled && table.server_side_encryption[0].enabled && table.ttl[0].attribute_name == "ttl" && table.deletion_protection_enabled
    ])
    error_message = "A table can't be restored, isn't encrypted, doesn't expire or can be deleted."
  }
}
