resource "aiven_pg" "this" {
  project                 = local.project
  service_name            = "${local.name}-pg"
  cloud_name              = var.cloud_name
  plan                    = var.pg_plan
  project_vpc_id          = local.vpc_id
  maintenance_window_dow  = var.maintenance_window.day
  maintenance_window_time = var.maintenance_window.time
  termination_protection  = var.termination_protection

  pg_user_config {
    pg_version       = var.pg_version
    ip_filter_string = var.allowed_networks
  }

  dynamic "tag" {
    for_each = local.tags

    content {
      key   = tag.key
      value = tag.value
    }
  }
}

resource "aiven_pg_database" "wms" {
  project       = local.project
  service_name  = aiven_pg.this.service_name
  database_name = var.pg_database
}

resource "aiven_pg_user" "role" {
  for_each = var.pg_roles

  project      = local.project
  service_name = aiven_pg.this.service_name
  username     = each.value
}

# By transaction: readers keep nothing between transactions.
resource "aiven_connection_pool" "reader" {
  project       = local.project
  service_name  = aiven_pg.this.service_name
  database_name = aiven_pg_database.wms.database_name
  pool_name     = "${var.pg_database}-reader"
  pool_mode     = "transaction"
  pool_size     = var.reader_pool_size
  username      = aiven_pg_user.role["reader"].username
}
