variable "name" {
  type = string
}

variable "kms_key_arn" {
  type = string
}

variable "raw_bucket" {
  description = "The bucket whose new files are told to the events queue."
  type        = object({ name = string, arn = string })
}

variable "other_buckets" {
  description = "Buckets whose events go to EventBridge only, by role: the publish alarms count them."
  type        = map(string)
}

variable "max_receives" {
  description = "A message that was received so often and not deleted goes to the dead-letter queue."
  type        = number
  default     = 5
}

variable "alarm_emails" {
  type = set(string)
}
