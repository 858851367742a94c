output "kms_key_arn" {
  value = aws_kms_key.data.arn
}

output "bucket_names" {
  description = "By role: raw, lake, run-logs, access-logs."
  value       = merge({ for role, bucket in aws_s3_bucket.this : role => bucket.id }, { access-logs = aws_s3_bucket_policy.access_logs.bucket })
}

output "bucket_arns" {
  description = "By role: raw, lake, run-logs."
  value       = { for role, bucket in aws_s3_bucket.this : role => bucket.arn }
}

output "table_names" {
  description = "By role: leases, results, records."
  value       = { for role, table in aws_dynamodb_table.this : role => table.name }
}

output "table_arns" {
  description = "By role: leases, results, records."
  value       = { for role, table in aws_dynamodb_table.this : role => table.arn }
}
