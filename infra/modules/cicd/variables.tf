variable "name" {
  type = string
}

variable "environment" {
  description = "Name of the GitHub environment that may deploy here."
  type        = string
}

variable "repository" {
  description = "owner/name on GitHub."
  type        = string
}

variable "github_oidc_provider_arn" {
  description = "GitHub's identity provider in this account; one an account, made by infra/bootstrap."
  type        = string
}

variable "state_bucket" {
  description = "The bucket of Terraform's state, made by infra/bootstrap."
  type        = string
}

variable "state_key_arn" {
  description = "The KMS key of the state, made by infra/bootstrap."
  type        = string
}

variable "cluster" {
  type = object({ arn = string, name = string })
}

variable "passed_role_arns" {
  description = "The execution and task roles, which a deployment hands to ECS."
  type        = list(string)
}
