# What an environment decides; sizes and limits that differ between environments are in envs/*/main.tf.
variable "environment" {
  description = "dev, staging or prod."
  type        = string
}

variable "image" {
  description = "repository@sha256:..."
  type        = string
}

variable "running" {
  type = bool
}

variable "destroyable" {
  type = bool
}

variable "network" {
  type = object({ cidr = string, zones = list(string), nat_gateways = number, interface_endpoints = set(string) })
}

variable "database" {
  type = object({ instance_class = string, storage_gb = number, multi_az = bool, backup_days = number })
}

variable "retention" {
  type = object({ raw_days = number, old_version_days = number, log_days = number })
}

variable "sizes" {
  type = map(object({ cpu = number, memory = number }))
}

variable "api_tasks" {
  type = object({ least = number, most = number })
}

variable "settings" {
  type = map(string)
}

variable "certificate_arn" {
  type = string
}

variable "domains" {
  type = object({ ui = string, api = string })
}

variable "login_domain_prefix" {
  type = string
}

variable "alarm_emails" {
  type = set(string)
}

variable "monthly_budget_usd" {
  type = number
}

variable "github_repository" {
  type = string
}

variable "account" {
  description = "What infra/bootstrap made in this account; its output `account`."
  type = object({
    state_bucket      = string
    state_key_arn     = string
    repository_arn    = string
    oidc_provider_arn = string
  })
}
