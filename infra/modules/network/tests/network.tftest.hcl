mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:made" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made" }
  }
}

variables {
  name                = "tnt-test"
  cidr                = "10.9.0.0/16"
  zones               = ["us-east-1a", "us-east-1b", "us-east-1c"]
  nat_gateways        = 3
  interface_endpoints = ["logs", "ecr.api"]
  log_retention_days  = 400
  kms_key_arn         = "arn:aws:kms:us-east-1:123456789012:key/data"
}

# One run: each starts the provider anew.
run "what_is_asked_for_is_made" {
  command = apply

  # S3 and dynamodb never leave the network.
  assert {
    condition     = { for service, endpoint in aws_vpc_endpoint.gateway : service => endpoint.vpc_endpoint_type } == { s3 = "Gateway", dynamodb = "Gateway" }
    error_message = "The bulk of the traffic would pay for the NAT gateways."
  }
  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.gateway : length(endpoint.route_table_ids) == 3])
    error_message = "A zone has no route to the endpoint."
  }

  # Interface endpoints are those asked for.
  assert {
    condition     = toset([for endpoint in aws_vpc_endpoint.interface : endpoint.service_name]) == toset(["com.amazonaws.us-east-1.logs", "com.amazonaws.us-east-1.ecr.api"])
    error_message = "Each costs by the hour and zone."
  }
  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled])
    error_message = "Without private names nobody uses it."
  }

  # Nothing is reached from the internet but the load balancer.
  assert {
    condition     = { for port, rule in aws_vpc_security_group_ingress_rule.internet : port => rule.security_group_id } == { for port in ["80", "443"] : port => aws_security_group.this["balancer"].id }
    error_message = "Only the load balancer is open, on two ports."
  }
  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.inside : rule.cidr_ipv4 == null && rule.from_port == rule.to_port])
    error_message = "Inside, one port of one group each."
  }
  assert {
    condition     = toset([for rule in local.ports : rule.from if rule.to == "database"]) == toset(["services", "runs"]) && !anytrue([for rule in local.ports : rule.to == "runs"])
    error_message = "Only tasks reach the database, and nobody connects to a run."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.map_public_ip_on_launch != true])
    error_message = "A private subnet gives public addresses."
  }

  # Each zone has its own way out when there are as many gateways.
  assert {
    condition     = length(toset([for route in aws_route.nat : route.nat_gateway_id])) == 3
    error_message = "The loss of a zone would cut off the others."
  }

  # Refused connections are logged with our key.
  assert {
    condition     = aws_cloudwatch_log_group.flow.retention_in_days == 400 && aws_cloudwatch_log_group.flow.kms_key_id == var.kms_key_arn
    error_message = "Kept for ever, or not with our key."
  }
}

run "one_zone_is_not_enough" {
  command = plan
  variables {
    zones        = ["us-east-1a"]
    nat_gateways = 1
  }
  expect_failures = [var.zones]
}
