locals {
  registry = one([for one in aiven_kafka.this.components : one if one.component == "schema_registry" && one.route == "dynamic"])

  # verify-full: the certificate is of the project's CA and of this host.
  database_urls = {
    for role, user in aiven_pg_user.role : role =>
    "postgresql://${urlencode(user.username)}:${urlencode(user.password)}@${aiven_pg.this.service_host}:${aiven_pg.this.service_port}/${aiven_pg_database.wms.database_name}?sslmode=verify-full"
  }
  # Aiven's own user, who owns the database: for bootstrap.sql and nothing else.
  bootstrap_url = "postgresql://${urlencode(aiven_pg.this.service_username)}:${urlencode(aiven_pg.this.service_password)}@${aiven_pg.this.service_host}:${aiven_pg.this.service_port}/${aiven_pg_database.wms.database_name}?sslmode=verify-full"
  # A pool's uri has its own port, and no sslmode that verifies.
  reader_url = replace(aiven_connection_pool.reader.connection_uri, "sslmode=require", "sslmode=verify-full")
  broker_url = "rediss://${urlencode(aiven_valkey_user.wms.username)}:${urlencode(aiven_valkey_user.wms.password)}@${aiven_valkey.this.service_host}:${aiven_valkey.this.service_port}/0"

  common = {
    WMS_ENV          = var.environment
    WMS_TOPIC_SUFFIX = var.topic_suffix
  }
  kafka = {
    WMS_KAFKA_BOOTSTRAP_SERVERS = "${aiven_kafka.this.service_host}:${aiven_kafka.this.service_port}"
    WMS_SCHEMA_REGISTRY_URL     = "https://${local.registry.host}:${local.registry.port}"
  }
  # Through the pool, which gives a server connection to another after each transaction.
  reads = {
    WMS_DATABASE_URL    = local.reader_url
    WMS_DATABASE_POOLED = "true"
  }
  # Whom each migration gives their rights.
  role_names = {
    WMS_DATABASE_ROLE_PERSIST      = aiven_pg_user.role["persist"].username
    WMS_DATABASE_ROLE_HOUSEKEEPING = aiven_pg_user.role["housekeeping"].username
    WMS_DATABASE_ROLE_READER       = aiven_pg_user.role["reader"].username
  }
  registry_logins = { for role, user in aiven_kafka_user.role : role => "${user.username}:${user.password}" }
}

output "project" {
  description = "The Aiven project."
  value       = local.project
}

output "services" {
  description = "The names of the services."
  value = {
    kafka  = aiven_kafka.this.service_name
    pg     = aiven_pg.this.service_name
    valkey = aiven_valkey.this.service_name
  }
}

output "topics" {
  description = "The topics of results, by version."
  value       = { for n, topic in aiven_kafka_topic.results : n => topic.topic_name }
}

output "settings" {
  description = "WMS_ variables by role; each has what it needs and no more."
  sensitive   = true
  value = {
    beat         = merge(local.common, { WMS_BROKER_URL = local.broker_url })
    worker       = merge(local.common, local.kafka, { WMS_BROKER_URL = local.broker_url, WMS_SCHEMA_REGISTRY_AUTH = local.registry_logins["worker"] })
    persist      = merge(local.common, local.kafka, { WMS_BROKER_URL = local.broker_url, WMS_SCHEMA_REGISTRY_AUTH = local.registry_logins["persist"], WMS_MIGRATE = "wait", WMS_DATABASE_URL = local.database_urls["persist"], WMS_DATABASE_URL_HOUSEKEEPING = local.database_urls["housekeeping"] })
    housekeeping = merge(local.common, local.reads, { WMS_DATABASE_URL_HOUSEKEEPING = local.database_urls["housekeeping"] })
    migrate      = merge(local.common, local.role_names, { WMS_DATABASE_URL = local.database_urls["migrate"] })
    reader       = merge(local.common, local.reads)
    operator     = merge(local.common, local.reads, { WMS_BROKER_URL = local.broker_url })
    bootstrap    = merge(local.common, { WMS_DATABASE_URL = local.bootstrap_url })
    release      = merge(local.common, { WMS_SCHEMA_REGISTRY_URL = local.kafka.WMS_SCHEMA_REGISTRY_URL, WMS_SCHEMA_REGISTRY_AUTH = local.registry_logins["release"] })
  }
}

output "certificates" {
  description = "PEM files by role and name: ca.pem for all, and the Kafka users' certificates and keys."
  sensitive   = true
  value = merge(
    { for role in ["beat", "bootstrap", "housekeeping", "migrate", "operator", "reader", "release"] : role => { "ca.pem" = local.ca_cert } },
    {
      for role in ["worker", "persist"] : role => {
        "ca.pem"         = local.ca_cert
        "kafka-cert.pem" = aiven_kafka_user.role[role].access_cert
        "kafka-key.pem"  = aiven_kafka_user.role[role].access_key
      }
    },
  )
}
