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

  environment            = "staging"
  project                = var.project
  create_project         = var.create_project
  billing_group          = var.billing_group
  cloud_name             = var.cloud_name
  topic_suffix           = var.topic_suffix
  termination_protection = false

  kafka_plan            = var.kafka_plan
  pg_plan               = var.pg_plan
  valkey_plan           = var.valkey_plan
  topic_partitions      = 3
  topic_retention_hours = 24
}
