terraform {
  required_version = ">= 1.10"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
  # The bucket is made by infra/bootstrap and named at init: -backend-config="bucket=..." (docs/aws.md).
  backend "s3" {
    key          = "prod/terraform.tfstate"
    region       = "us-east-1"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = "us-east-1"
  default_tags {
    tags = { project = "tnt-platform", environment = "tnt-prod", managed-by = "terraform" }
  }
}

module "platform" {
  source      = "../../modules/platform"
  environment = "prod"
  image       = var.image
  running     = var.running
  destroyable = false

  network   = { cidr = "10.40.0.0/16", zones = ["us-east-1a", "us-east-1b", "us-east-1c"], nat_gateways = 3, interface_endpoints = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sqs", "sns", "ecs"] }
  database  = { instance_class = "db.t4g.medium", storage_gb = 50, multi_az = true, backup_days = 30 }
  retention = { raw_days = 400, old_version_days = 90, log_days = 400 }
  sizes = {
    webserver = { cpu = 512, memory = 2048 }
    daemon    = { cpu = 512, memory = 2048 }
    code      = { cpu = 1024, memory = 2048 }
    api       = { cpu = 512, memory = 1024 }
    run       = { cpu = 1024, memory = 2048 }
  }
  api_tasks          = { least = 2, most = 8 }
  monthly_budget_usd = 800

  settings            = var.settings
  certificate_arn     = var.certificate_arn
  domains             = var.domains
  login_domain_prefix = var.login_domain_prefix
  alarm_emails        = var.alarm_emails
  github_repository   = var.github_repository
  account             = var.account
}

output "platform" {
  value = module.platform
}
