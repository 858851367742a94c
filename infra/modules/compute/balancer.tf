# The Dagster UI has no login of its own: whoever reaches it can run and delete. Cognito stands in front of it.
resource "aws_cognito_user_pool" "this" {
  name                = var.name
  deletion_protection = var.destroyable ? "INACTIVE" : "ACTIVE"
  mfa_configuration   = "ON"
  software_token_mfa_configuration {
    enabled = true
  }
  admin_create_user_config {
    allow_admin_create_user_only = true
  }
  password_policy {
    minimum_length                   = 14
    require_lowercase                = true
    require_numbers                  = true
    require_symbols                  = true
    require_uppercase                = true
    temporary_password_validity_days = 3
  }
}

resource "aws_cognito_user_pool_client" "balancer" {
  name                                 = "${var.name}-balancer"
  user_pool_id                         = aws_cognito_user_pool.this.id
  generate_secret                      = true
  allowed_oauth_flows_user_pool_client = true
  allowed_oauth_flows                  = ["code"]
  allowed_oauth_scopes                 = ["openid"]
  supported_identity_providers         = ["COGNITO"]
  callback_urls                        = ["https://${var.domains.ui}/oauth2/idpresponse"]
}

resource "aws_cognito_user_pool_domain" "this" {
  domain       = var.login_domain_prefix
  user_pool_id = aws_cognito_user_pool.this.id
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_150:deletion protection is a variable: off only in environments that are thrown away
  #checkov:skip=CKV2_AWS_28:behind a login and an API key; a firewall's rules are the team's to choose (docs/aws.md)
  name                       = var.name
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = var.public_subnet_ids
  security_groups            = [var.security_group_ids["balancer"]]
  drop_invalid_header_fields = true
  enable_deletion_protection = !var.destroyable
  access_logs {
    bucket  = var.bucket_names["access-logs"]
    prefix  = "balancer"
    enabled = true
  }
}

locals {
  targets = {
    webserver = { port = 3000, path = "/server_info" }
    api       = { port = 8800, path = "/health/ready" }
  }
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the balancer; behind it only its own security group may connect
  for_each             = local.targets
  name                 = "${var.name}-${each.key}"
  vpc_id               = var.vpc_id
  port                 = each.value.port
  protocol             = "HTTP"
  target_type          = "ip"
  deregistration_delay = 30
  health_check {
    path                = each.value.path
    matcher             = "200"
    interval            = 30
    timeout             = 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"
  default_action {
    type = "redirect"
    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      message_body = "Nothing here."
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener_rule" "ui" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 10
  condition {
    host_header {
      values = [var.domains.ui]
    }
  }
  action {
    type  = "authenticate-cognito"
    order = 1
    authenticate_cognito {
      user_pool_arn              = aws_cognito_user_pool.this.arn
      user_pool_client_id        = aws_cognito_user_pool_client.balancer.id
      user_pool_domain           = aws_cognito_user_pool_domain.this.domain
      on_unauthenticated_request = "authenticate"
      session_timeout            = 28800
    }
  }
  action {
    type             = "forward"
    order            = 2
    target_group_arn = aws_lb_target_group.this["webserver"].arn
  }
}

# The API checks its own key.
resource "aws_lb_listener_rule" "api" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 20
  condition {
    host_header {
      values = [var.domains.api]
    }
  }
  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["api"].arn
  }
}

# A deployment that answers with errors is rolled back by these.
resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each            = local.targets
  alarm_name          = "${var.name}-${each.key}-5xx"
  alarm_description   = "More than 5 answers in 5 minutes were errors of ours. docs/aws.md#5xx"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HTTPCode_Target_5XX_Count"
  dimensions          = { LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = aws_lb_target_group.this[each.key].arn_suffix }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarms_topic_arn]
  ok_actions          = [var.alarms_topic_arn]
}
