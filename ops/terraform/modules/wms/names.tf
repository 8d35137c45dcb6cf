# What the roles compute from WMS_ENV and WMS_TOPIC_SUFFIX, and the names beside it. Variables only, so that a test can have
# Terraform itself compute it without a provider.
locals {
  suffix = var.topic_suffix == "" ? "" : ".${var.topic_suffix}"
  topics = { for n in var.topic_versions : tostring(n) => "${var.environment}.scraped-metrics.v${n}${local.suffix}" }
  groups = { for n in var.topic_versions : tostring(n) => "${var.environment}.wms.persist${n == 1 ? "" : ".v${n}"}${local.suffix}" }

  name = join("-", compact([var.name_prefix, var.environment, var.topic_suffix]))
  tags = merge(var.tags, {
    "environment" = var.environment
    "system"      = var.topic_suffix == "" ? "wms" : "wms-${var.topic_suffix}"
    "managed-by"  = "terraform"
  })
}
