variable "name" {
  description = "Prefix of every name, such as tnt-dev."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC; a /16 leaves room for 16 subnets of a /20."
  type        = string
}

variable "zones" {
  description = "Availability zones, two or more."
  type        = list(string)
  validation {
    condition     = length(var.zones) >= 2
    error_message = "A load balancer and a database need two zones."
  }
}

variable "nat_gateways" {
  description = "How many NAT gateways: 1 is cheap, one a zone survives the loss of a zone."
  type        = number
  validation {
    condition     = var.nat_gateways >= 1
    error_message = "Tasks reach the rate API and the publishers through NAT: one gateway at least."
  }
}

variable "interface_endpoints" {
  description = "Services reached without NAT, such as ecr.api, ecr.dkr, logs, secretsmanager; each costs by the hour and zone."
  type        = set(string)
}

variable "log_retention_days" {
  type = number
}

variable "kms_key_arn" {
  type = string
}
