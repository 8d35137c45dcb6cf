resource "aiven_valkey" "this" {
  project                 = local.project
  service_name            = "${local.name}-valkey"
  cloud_name              = var.cloud_name
  plan                    = var.valkey_plan
  project_vpc_id          = local.vpc_id
  maintenance_window_dow  = var.maintenance_window.day
  maintenance_window_time = var.maintenance_window.time
  termination_protection  = var.termination_protection

  valkey_user_config {
    ip_filter_string = var.allowed_networks
    valkey_ssl       = true

    # A broker that evicts loses messages; a full one refuses them, and beat sends again.
    valkey_maxmemory_policy = "noeviction"
    valkey_persistence      = "rdb"
  }

  dynamic "tag" {
    for_each = local.tags

    content {
      key   = tag.key
      value = tag.value
    }
  }
}

resource "aiven_valkey_user" "wms" {
  project      = local.project
  service_name = aiven_valkey.this.service_name
  username     = "wms"

  valkey_acl_categories = ["+@all", "-@admin"]
  valkey_acl_commands   = []
  valkey_acl_channels   = ["*"]
  valkey_acl_keys       = ["wms:${var.environment}:*"]
}
