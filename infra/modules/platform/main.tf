# The whole platform: seven modules and what they tell each other.
locals {
  name = "tnt-${var.environment}"
}

module "storage" {
  source           = "../storage"
  name             = local.name
  raw_days         = var.retention.raw_days
  old_version_days = var.retention.old_version_days
  log_days         = var.retention.log_days
  destroyable      = var.destroyable
}

module "network" {
  source              = "../network"
  name                = local.name
  cidr                = var.network.cidr
  zones               = var.network.zones
  nat_gateways        = var.network.nat_gateways
  interface_endpoints = var.network.interface_endpoints
  log_retention_days  = var.retention.log_days
  kms_key_arn         = module.storage.kms_key_arn
}

module "messaging" {
  source        = "../messaging"
  name          = local.name
  kms_key_arn   = module.storage.kms_key_arn
  raw_bucket    = { name = module.storage.bucket_names["raw"], arn = module.storage.bucket_arns["raw"] }
  other_buckets = { lake = module.storage.bucket_names["lake"] }
  alarm_emails  = var.alarm_emails
}

module "database" {
  source            = "../database"
  name              = local.name
  subnet_ids        = module.network.private_subnet_ids
  security_group_id = module.network.security_group_ids["database"]
  kms_key_arn       = module.storage.kms_key_arn
  instance_class    = var.database.instance_class
  storage_gb        = var.database.storage_gb
  multi_az          = var.database.multi_az
  backup_days       = var.database.backup_days
  log_days          = var.retention.log_days
  destroyable       = var.destroyable
}

module "compute" {
  source              = "../compute"
  name                = local.name
  image               = var.image
  repository_arn      = var.account.repository_arn
  running             = var.running
  vpc_id              = module.network.vpc_id
  public_subnet_ids   = module.network.public_subnet_ids
  private_subnet_ids  = module.network.private_subnet_ids
  security_group_ids  = module.network.security_group_ids
  kms_key_arn         = module.storage.kms_key_arn
  bucket_names        = module.storage.bucket_names
  bucket_arns         = module.storage.bucket_arns
  table_names         = module.storage.table_names
  table_arns          = module.storage.table_arns
  queues              = module.messaging.queues
  updates_topic_arn   = module.messaging.topic_arns["dataset-updates"]
  alarms_topic_arn    = module.messaging.topic_arns["alarms"]
  database            = { host = module.database.host, password_secret_arn = module.database.password_secret_arn }
  settings            = var.settings
  sizes               = var.sizes
  api_tasks           = var.api_tasks
  certificate_arn     = var.certificate_arn
  domains             = var.domains
  login_domain_prefix = var.login_domain_prefix
  log_retention_days  = var.retention.log_days
  destroyable         = var.destroyable
}

module "observability" {
  source             = "../observability"
  name               = local.name
  alarms_topic_arn   = module.messaging.topic_arns["alarms"]
  kms_key_arn        = module.storage.kms_key_arn
  log_retention_days = var.retention.log_days
  cluster            = module.compute.cluster
  daemon_log_group   = module.compute.log_groups["daemon"]
  lake_bucket        = module.storage.bucket_names["lake"]
  queues             = module.messaging.queues
  database           = { identifier = module.database.identifier, storage_gb = module.database.storage_gb }
  balancer_suffix    = module.compute.balancer.suffix
  running            = var.running
  monthly_budget_usd = var.monthly_budget_usd
}

module "cicd" {
  source                   = "../cicd"
  name                     = local.name
  environment              = var.environment
  repository               = var.github_repository
  github_oidc_provider_arn = var.account.oidc_provider_arn
  state_bucket             = var.account.state_bucket
  state_key_arn            = var.account.state_key_arn
  cluster                  = module.compute.cluster
  passed_role_arns         = values(module.compute.role_arns)
}
