# terraform test, with a provider that makes everything up: `terraform init -backend=false && terraform test`.
mock_provider "aiven" {
  mock_resource "aiven_kafka" {
    defaults = {
      service_host = "kafka.example"
      service_port = 12345
      components = [
        {
          component                   = "schema_registry"
          connection_uri              = ""
          host                        = "registry.example"
          kafka_authentication_method = ""
          kafka_ssl_ca                = ""
          port                        = 12346
          privatelink_connection_id   = ""
          route                       = "dynamic"
          ssl                         = true
          usage                       = "primary"
        },
      ]
    }
  }

  mock_resource "aiven_connection_pool" {
    defaults = {
      connection_uri = "postgres://wms_reader:secret@pg.example:12347/wms-reader?sslmode=require"
    }
  }
}

variables {
  environment = "staging"
  project     = "acme"
  kafka_plan  = "startup-4"
  pg_plan     = "startup-4"
  valkey_plan = "startup-4"
}

run "topic_of_the_environment" {
  assert {
    condition     = output.topics["1"] == "staging.scraped-metrics.v1"
    error_message = "The topic is not the one that the roles use."
  }

  assert {
    condition     = output.settings["worker"].WMS_KAFKA_BOOTSTRAP_SERVERS == "kafka.example:12345"
    error_message = "The worker is not told where Kafka is."
  }

  assert {
    condition     = output.settings["persist"].WMS_SCHEMA_REGISTRY_URL == "https://registry.example:12346"
    error_message = "The persist worker is not told where the registry is."
  }

  assert {
    condition     = endswith(output.settings["reader"].WMS_DATABASE_URL, "/wms-reader?sslmode=verify-full")
    error_message = "Readers do not go through the pool, or do not verify whom they talk to."
  }

  assert {
    condition     = output.settings["reader"].WMS_DATABASE_POOLED == "true" && !can(output.settings["persist"].WMS_DATABASE_POOLED)
    error_message = "Readers are not told that it is a pool, or persist is given one."
  }

  assert {
    condition     = output.settings["migrate"].WMS_DATABASE_ROLE_PERSIST == "wms_persist"
    error_message = "Migrations are not told whom to give which rights."
  }

  assert {
    condition     = !can(output.settings["worker"].WMS_DATABASE_URL) && !can(output.settings["beat"].WMS_DATABASE_URL)
    error_message = "Beat and workers have no database."
  }
}

run "two_versions_while_one_is_rolled_out" {
  command = plan

  variables {
    topic_versions = [1, 2]
  }

  assert {
    condition     = length(aiven_kafka_topic.results) == 2 && length(aiven_kafka_native_acl.persist_joins) == 2
    error_message = "Each version has a topic and a group of its own."
  }
}

run "a_vpc_where_asked" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/24"
  }

  assert {
    condition     = length(aiven_project_vpc.this) == 1
    error_message = "There is no VPC."
  }
}

run "prod_is_protected" {
  command = plan

  variables {
    environment            = "prod"
    termination_protection = false
  }

  expect_failures = [var.termination_protection]
}
