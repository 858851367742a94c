# Copy to terraform.tfvars and put in your own. The image comes from the release: -var image=...
certificate_arn     = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
domains             = { ui = "dagster.prod.example.com", api = "data.prod.example.com" }
login_domain_prefix = "example-tnt-prod"
alarm_emails        = ["data-on-call@example.com"]
github_repository   = "example/tnt_platform"
settings = {
  TNT_RATE_API_URL  = "https://rates.example.com"
  TNT_DIRECTORY_URL = "https://directory.example.com/tenants"
}
account = {
  state_bucket      = "tnt-state-123456789012"
  state_key_arn     = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  repository_arn    = "arn:aws:ecr:us-east-1:123456789012:repository/tnt-platform"
  oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
}
