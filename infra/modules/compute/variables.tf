variable "name" {
  type = string
}

variable "image" {
  description = "The platform's image, by digest: repository@sha256:... One image for every role."
  type        = string
  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Name the image by digest (repository@sha256:...): a tag can come to mean something else."
  }
}

variable "repository_arn" {
  description = "The ECR repository that tasks may pull from."
  type        = string
}

variable "running" {
  description = "False keeps every service at zero tasks: for the first apply, before image and secrets exist, and to pause an environment."
  type        = bool
}

variable "vpc_id" {
  type = string
}

variable "public_subnet_ids" {
  type = list(string)
}

variable "private_subnet_ids" {
  type = list(string)
}

variable "security_group_ids" {
  description = "By role: balancer, services, runs."
  type        = map(string)
}

variable "kms_key_arn" {
  type = string
}

variable "bucket_names" {
  type = map(string)
}

variable "bucket_arns" {
  type = map(string)
}

variable "table_names" {
  type = map(string)
}

variable "table_arns" {
  type = map(string)
}

variable "queues" {
  type = map(object({ url = string, arn = string, name = string }))
}

variable "updates_topic_arn" {
  type = string
}

variable "alarms_topic_arn" {
  type = string
}

variable "database" {
  type = object({ host = string, password_secret_arn = string })
}

variable "settings" {
  description = "More environment variables of every task, such as TNT_RATE_API_URL; secrets have their own place."
  type        = map(string)
}

variable "sizes" {
  description = "CPU units and MiB of memory by role: webserver, daemon, code, api, run."
  type        = map(object({ cpu = number, memory = number }))
}

variable "api_tasks" {
  description = "The API scales between these."
  type        = object({ least = number, most = number })
}

variable "certificate_arn" {
  description = "ACM certificate of both domain names."
  type        = string
}

variable "domains" {
  description = "Names of the web UI and of the API, both pointing at the load balancer."
  type        = object({ ui = string, api = string })
}

variable "login_domain_prefix" {
  description = "Prefix of the hosted login page; unique in the region."
  type        = string
}

variable "log_retention_days" {
  type = number
}

variable "destroyable" {
  type = bool
}
