mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/monitoring" }
  }
}

variables {
  name              = "tnt-test"
  subnet_ids        = ["subnet-1", "subnet-2"]
  security_group_id = "sg-1"
  kms_key_arn       = "arn:aws:kms:us-east-1:123456789012:key/data"
  instance_class    = "db.t4g.medium"
  storage_gb        = 50
  multi_az          = true
  backup_days       = 30
  log_days          = 400
  destroyable       = false
}

# One run: each starts the provider anew.
run "what_is_asked_for_is_made" {
  command = plan

  # The database is private encrypted backed up and protected.
  assert {
    condition     = !aws_db_instance.this.publicly_accessible && aws_db_instance.this.storage_encrypted && aws_db_instance.this.multi_az
    error_message = "Public, plain or in one zone."
  }
  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null
    error_message = "The password must be made and kept by RDS."
  }
  assert {
    condition     = aws_db_instance.this.backup_retention_period == 30 && aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot
    error_message = "Data could be lost."
  }
  assert {
    condition     = anytrue([for parameter in aws_db_parameter_group.this.parameter : parameter.name == "rds.force_ssl" && parameter.value == "1"])
    error_message = "Connections without TLS must be refused."
  }

  # Its logs are kept as long as the others and with our key.
  assert {
    condition = {
      for log, group in aws_cloudwatch_log_group.this : group.name => [group.retention_in_days, group.kms_key_id]
      } == {
      "/aws/rds/instance/tnt-test/postgresql" = [400, var.kms_key_arn]
      "/aws/rds/instance/tnt-test/upgrade"    = [400, var.kms_key_arn]
    }
    error_message = "RDS makes missing log groups itself: kept for ever, with AWS's key."
  }
  assert {
    condition     = aws_db_instance.this.enabled_cloudwatch_logs_exports == toset(["postgresql", "upgrade"])
    error_message = "A log is not sent, or to a group that isn't ours."
  }
}
