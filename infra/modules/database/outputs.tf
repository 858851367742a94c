output "identifier" {
  value = aws_db_instance.this.identifier
}

output "host" {
  value = aws_db_instance.this.address
}

output "password_secret_arn" {
  description = "The secret that RDS manages; its JSON has username and password."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "storage_gb" {
  value = var.storage_gb
}
