variable "name" {
  type = string
}

variable "subnet_ids" {
  type = list(string)
}

variable "security_group_id" {
  type = string
}

variable "kms_key_arn" {
  type = string
}

variable "instance_class" {
  type = string
}

variable "storage_gb" {
  description = "Grows by itself up to four times this."
  type        = number
}

variable "multi_az" {
  type = bool
}

variable "backup_days" {
  type = number
}

variable "log_days" {
  type = number
}

variable "destroyable" {
  description = "Whether `terraform destroy` may delete the database without a last snapshot."
  type        = bool
}
