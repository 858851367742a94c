locals {
  # Keys as the code has them: services/lease_dynamodb.py, flows/transit/sink.py, flows/records/sink.py.
  tables = {
    leases  = { key = ["lock_key"], ttl = "ttl", index = null }
    results = { key = ["test_id"], ttl = "ttl", index = null }
    records = { key = ["source", "item_id"], ttl = "ttl", index = { name = "by_capture", key = ["source", "captured_at"] } }
  }
}

resource "aws_dynamodb_table" "this" {
  for_each                    = local.tables
  name                        = "${var.name}-${each.key}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = each.value.key[0]
  range_key                   = try(each.value.key[1], null)
  deletion_protection_enabled = !var.destroyable

  dynamic "attribute" {
    for_each = toset(concat(each.value.key, try(each.value.index.key, [])))
    content {
      name = attribute.value
      type = "S"
    }
  }

  dynamic "global_secondary_index" {
    for_each = each.value.index == null ? [] : [each.value.index]
    content {
      name            = global_secondary_index.value.name
      hash_key        = global_secondary_index.value.key[0]
      range_key       = global_secondary_index.value.key[1]
      projection_type = "ALL"
    }
  }

  ttl {
    attribute_name = each.value.ttl
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = aws_kms_key.data.arn
  }
}
