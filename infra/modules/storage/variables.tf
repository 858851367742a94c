variable "name" {
  description = "Prefix of every name; bucket names get the account number too, since they are global."
  type        = string
}

variable "raw_days" {
  description = "Raw files are deleted after so many days; published data keeps what was read from them."
  type        = number
}

variable "old_version_days" {
  description = "Overwritten and deleted objects can be brought back for so many days."
  type        = number
}

variable "log_days" {
  description = "Access logs and run logs are kept for so many days."
  type        = number
}

variable "destroyable" {
  description = "Whether `terraform destroy` may delete buckets with objects, tables and keys. Never true where data matters."
  type        = bool
}
