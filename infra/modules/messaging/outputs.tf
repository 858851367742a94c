output "queues" {
  description = "By role (events, captures, events-dead, captures-dead): url, arn and name."
  value       = { for role, queue in local.all_queues : role => { url = queue.id, arn = queue.arn, name = queue.name } }
}

output "topic_arns" {
  description = "By role: dataset-updates, alarms."
  value       = { for role, topic in aws_sns_topic.this : role => topic.arn }
}
