resource "aiven_kafka" "this" {
  project                 = local.project
  service_name            = "${local.name}-kafka"
  cloud_name              = var.cloud_name
  plan                    = var.kafka_plan
  project_vpc_id          = local.vpc_id
  maintenance_window_dow  = var.maintenance_window.day
  maintenance_window_time = var.maintenance_window.time
  termination_protection  = var.termination_protection

  # Else Aiven gives every user every topic.
  default_acl = false

  kafka_user_config {
    kafka_version    = var.kafka_version
    schema_registry  = true
    kafka_rest       = false
    ip_filter_string = var.allowed_networks

    kafka {
      auto_create_topics_enable = false
    }

    kafka_authentication_methods {
      certificate = true
      sasl        = false
    }
  }

  dynamic "tag" {
    for_each = local.tags

    content {
      key   = tag.key
      value = tag.value
    }
  }
}

resource "aiven_kafka_topic" "results" {
  for_each = local.topics

  project           = local.project
  service_name      = aiven_kafka.this.service_name
  topic_name        = each.value
  topic_description = "Results of probes, written by workers and read by persist workers."
  partitions        = var.topic_partitions
  replication       = var.topic_replication

  config {
    cleanup_policy                 = "delete"
    min_insync_replicas            = tostring(var.topic_min_insync_replicas)
    retention_ms                   = tostring(var.topic_retention_hours * 3600 * 1000)
    unclean_leader_election_enable = false
  }

  tag {
    key   = "environment"
    value = var.environment
  }
}

# Each has a certificate (Kafka) and a password (schema registry). release only registers schemas.
resource "aiven_kafka_user" "role" {
  for_each = toset(["worker", "persist", "release"])

  project      = local.project
  service_name = aiven_kafka.this.service_name
  username     = "${var.environment}-wms-${each.key}"
}

# Write and Read include Describe. aiven_kafka_acl knows topics only, and no group.
resource "aiven_kafka_native_acl" "worker_writes" {
  for_each = local.topics

  project         = local.project
  service_name    = aiven_kafka.this.service_name
  principal       = "User:${aiven_kafka_user.role["worker"].username}"
  resource_type   = "Topic"
  resource_name   = aiven_kafka_topic.results[each.key].topic_name
  pattern_type    = "LITERAL"
  operation       = "Write"
  permission_type = "ALLOW"
}

resource "aiven_kafka_native_acl" "persist_reads" {
  for_each = local.topics

  project         = local.project
  service_name    = aiven_kafka.this.service_name
  principal       = "User:${aiven_kafka_user.role["persist"].username}"
  resource_type   = "Topic"
  resource_name   = aiven_kafka_topic.results[each.key].topic_name
  pattern_type    = "LITERAL"
  operation       = "Read"
  permission_type = "ALLOW"
}

resource "aiven_kafka_native_acl" "persist_joins" {
  for_each = local.groups

  project         = local.project
  service_name    = aiven_kafka.this.service_name
  principal       = "User:${aiven_kafka_user.role["persist"].username}"
  resource_type   = "Group"
  resource_name   = each.value
  pattern_type    = "LITERAL"
  operation       = "Read"
  permission_type = "ALLOW"
}

resource "aiven_kafka_schema_registry_acl" "role" {
  for_each = {
    for pair in setproduct(["worker", "persist", "release"], values(local.topics)) :
    "${pair[0]}/${pair[1]}" => { role = pair[0], topic = pair[1] }
  }

  project      = local.project
  service_name = aiven_kafka.this.service_name
  username     = aiven_kafka_user.role[each.value.role].username
  resource     = "Subject:${each.value.topic}-value"
  permission   = each.value.role == "release" ? "schema_registry_write" : "schema_registry_read"
}
