variable "name" {
  type = string
}

variable "alarms_topic_arn" {
  type = string
}

variable "kms_key_arn" {
  type = string
}

variable "log_retention_days" {
  type = number
}

variable "cluster" {
  type = object({ arn = string, name = string })
}

variable "daemon_log_group" {
  type = string
}

variable "lake_bucket" {
  type = string
}

variable "queues" {
  type = map(object({ url = string, arn = string, name = string }))
}

variable "database" {
  type = object({ identifier = string, storage_gb = number })
}

variable "balancer_suffix" {
  type = string
}

variable "running" {
  description = "Whether silence is alarming: a paused environment publishes nothing."
  type        = bool
}

variable "monthly_budget_usd" {
  type = number
}
