# Who may talk to whom, in one table. Everything else is closed.
locals {
  groups = {
    balancer  = "The load balancer, the only thing that the internet reaches"
    services  = "Web UI, daemon, code server and API"
    runs      = "Run tasks; nobody connects to them"
    database  = "PostgreSQL"
    endpoints = "Interface endpoints of AWS services"
  }
  ports = {
    "balancer-to-ui"       = { from = "balancer", to = "services", port = 3000 }
    "balancer-to-api"      = { from = "balancer", to = "services", port = 8800 }
    "services-to-code"     = { from = "services", to = "services", port = 4000 }
    "services-to-ui"       = { from = "services", to = "services", port = 3000 }
    "services-to-database" = { from = "services", to = "database", port = 5432 }
    "runs-to-database"     = { from = "runs", to = "database", port = 5432 }
    "services-to-aws"      = { from = "services", to = "endpoints", port = 443 }
    "runs-to-aws"          = { from = "runs", to = "endpoints", port = 443 }
  }
}

resource "aws_security_group" "this" {
  for_each    = local.groups
  name        = "${var.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "inside" {
  for_each                     = local.ports
  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "inside" {
  for_each                     = local.ports
  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

# HTTP is answered with a redirect only.
resource "aws_vpc_security_group_ingress_rule" "internet" {
  #checkov:skip=CKV_AWS_260:port 80 answers with a redirect to HTTPS and nothing else
  for_each          = toset(["80", "443"])
  security_group_id = aws_security_group.this["balancer"].id
  cidr_ipv4         = "0.0.0.0/0"
  description       = "from the internet"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.key)
  to_port           = tonumber(each.key)
}

# The rate API, publishers, ECR and other AWS services; the balancer asks Cognito for tokens.
resource "aws_vpc_security_group_egress_rule" "https" {
  for_each          = toset(["balancer", "services", "runs"])
  security_group_id = aws_security_group.this[each.key].id
  cidr_ipv4         = "0.0.0.0/0"
  description       = "HTTPS to the outside"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
