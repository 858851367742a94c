# The policies as rendered are read and enforced by tnt_platform_tests/infra; here is who may have the roles.
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
}

variables {
  name                     = "tnt-test"
  environment              = "test"
  repository               = "example/tnt_platform"
  github_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  state_bucket             = "tnt-state-123456789012"
  state_key_arn            = "arn:aws:kms:us-east-1:123456789012:key/state"
  cluster                  = { arn = "arn:aws:ecs:us-east-1:123456789012:cluster/tnt-test", name = "tnt-test" }
  passed_role_arns         = ["arn:aws:iam::123456789012:role/tnt-test-run"]
}

# One run: each starts the provider anew.
run "what_is_asked_for_is_made" {
  command = apply

  # Plans come from pull requests and deployments from the approved environment.
  assert {
    condition     = local.subjects == { plan = "repo:example/tnt_platform:pull_request", deploy = "repo:example/tnt_platform:environment:test" }
    error_message = "Somebody else could take a role."
  }
  assert {
    condition     = alltrue([for role in aws_iam_role.this : role.max_session_duration == 3600])
    error_message = "A session outlives its job."
  }

  # No pipeline reads data and only deployments change anything.
  assert {
    condition     = toset(keys(aws_iam_role_policy.no_data)) == toset(["plan", "deploy"]) && alltrue([for denial in data.aws_iam_policy_document.no_data.statement : denial.effect == "Deny"])
    error_message = "A role lacks the denials."
  }
  assert {
    condition     = flatten([for statement in data.aws_iam_policy_document.plan.statement : tolist(statement.actions)]) == ["kms:Decrypt"]
    error_message = "A plan changes nothing."
  }
}
