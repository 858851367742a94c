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
    key          = "dev/terraform.tfstate"
    region       = "us-east-1"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = "us-east-1"
  default_tags {
    tags = { project = "tnt-platform", environment = "tnt-dev", managed-by = "terraform" }
  }
}

module "platform" {
  source      = "../../modules/platform"
  environment = "dev"
  image       = var.image
  running     = var.running
  destroyable = true

  network   = { cidr = "10.20.0.0/16", zones = ["us-east-1a", "us-east-1b"], nat_gateways = 1, interface_endpoints = [] }
  database  = { instance_class = "db.t4g.micro", storage_gb = 20, multi_az = false, backup_days = 3 }
  retention = { raw_days = 30, old_version_days = 7, log_days = 30 }
  sizes = {
    webserver = { cpu = 512, memory = 2048 }
    daemon    = { cpu = 512, memory = 2048 }
    code      = { cpu = 1024, memory = 2048 }
    api       = { cpu = 512, memory = 1024 }
    run       = { cpu = 1024, memory = 2048 }
  }
  api_tasks          = { least = 1, most = 2 }
  monthly_budget_usd = 250

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
