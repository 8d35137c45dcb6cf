terraform {
  required_version = ">= 1.11.0, < 2.0.0"

  required_providers {
    aiven = {
      source  = "aiven/aiven"
      version = "4.61.0"
    }
  }

  # Bucket, key and region by -backend-config (README.md): the state holds every password.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

# The token is AIVEN_TOKEN of the environment.
provider "aiven" {}

module "wms" {
  source = "../../modules/wms"

  environment            = "prod"
  termination_protection = true

  project            = var.project
  create_project     = var.create_project
  billing_group      = var.billing_group
  cloud_name         = var.cloud_name
  vpc_cidr           = var.vpc_cidr
  allowed_networks   = var.allowed_networks
  tags               = var.tags
  maintenance_window = var.maintenance_window

  kafka_plan                = var.kafka_plan
  kafka_version             = var.kafka_version
  topic_versions            = var.topic_versions
  topic_partitions          = var.topic_partitions
  topic_replication         = var.topic_replication
  topic_min_insync_replicas = var.topic_min_insync_replicas
  topic_retention_hours     = var.topic_retention_hours
  pg_plan                   = var.pg_plan
  pg_version                = var.pg_version
  reader_pool_size          = var.reader_pool_size
  valkey_plan               = var.valkey_plan
}
