# What differs from company to company; values go to terraform.tfvars beside this file (example.tfvars shows them).
variable "image" {
  description = "repository@sha256:... of the release."
  type        = string
}

variable "running" {
  description = "False for the first apply, and to pause the environment."
  type        = bool
  default     = true
}

variable "settings" {
  description = "Environment variables of the tasks that are no secrets, such as TNT_RATE_API_URL."
  type        = map(string)
  default     = {}
}

variable "certificate_arn" {
  description = "ACM certificate of both names."
  type        = string
}

variable "domains" {
  type = object({ ui = string, api = string })
}

variable "login_domain_prefix" {
  type = string
}

variable "alarm_emails" {
  type    = set(string)
  default = []
}

variable "github_repository" {
  description = "owner/name."
  type        = string
}

variable "account" {
  description = "The output `account` of infra/bootstrap."
  type = object({
    state_bucket      = string
    state_key_arn     = string
    repository_arn    = string
    oidc_provider_arn = string
  })
}
