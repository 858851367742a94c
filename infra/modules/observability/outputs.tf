output "alarm_names" {
  value = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name]
}

output "dashboard" {
  value = aws_cloudwatch_dashboard.this.dashboard_name
}
