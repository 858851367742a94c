output "vpc_id" {
  value = aws_vpc.this.id
}

output "public_subnet_ids" {
  value = [for zone in var.zones : aws_subnet.public[zone].id]
}

output "private_subnet_ids" {
  value = [for zone in var.zones : aws_subnet.private[zone].id]
}

output "security_group_ids" {
  description = "By role: balancer, services, runs, database, endpoints."
  value       = { for name, group in aws_security_group.this : name => group.id }
}
