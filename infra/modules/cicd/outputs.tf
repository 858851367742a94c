output "role_arns" {
  description = "For the workflows: plan, deploy."
  value       = { for job, role in aws_iam_role.this : job => role.arn }
}
