mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/state" }
  }
  mock_resource "aws_ecr_repository" {
    defaults = { arn = "arn:aws:ecr:us-east-1:123456789012:repository/tnt-platform" }
  }
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
}

variables {
  github_repository = "example/tnt_platform"
}

# One run: each starts the provider anew.
run "what_is_asked_for_is_made" {
  command = apply

  # Images are scanned immutable encrypted and cleared away.
  assert {
    condition     = aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push && aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE"
    error_message = "An image is not scanned, or its tag can come to mean another."
  }
  assert {
    condition     = one(aws_ecr_repository.this.encryption_configuration).kms_key == aws_kms_key.this.arn && !aws_ecr_repository.this.force_delete
    error_message = "Not encrypted with our key, or deleted with its images."
  }
  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.this.policy).rules : rule.action.type] == ["expire", "expire"]
    error_message = "Images pile up."
  }

  # The state is private versioned and encrypted.
  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled" && !aws_s3_bucket.state.force_destroy
    error_message = "A lost state can't be brought back."
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default).kms_master_key_id == aws_kms_key.this.arn && aws_kms_key.this.enable_key_rotation
    error_message = "The state has secrets of the load balancer in it: our key only."
  }
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.state.block_public_acls, aws_s3_bucket_public_access_block.state.block_public_policy,
      aws_s3_bucket_public_access_block.state.ignore_public_acls, aws_s3_bucket_public_access_block.state.restrict_public_buckets,
    ])
    error_message = "The state could be made public."
  }

  # Only the main branch pushes images.
  assert {
    condition = anytrue([
      for asked in data.aws_iam_policy_document.image_trust.statement[0].condition :
      asked.test == "StringEquals" && asked.variable == "token.actions.githubusercontent.com:sub" && join(" ", asked.values) == "repo:example/tnt_platform:ref:refs/heads/main"
    ])
    error_message = "Another branch or repository could push an image."
  }
}
