locals {
  project = var.create_project ? aiven_project.this[0].project : var.project
  ca_cert = var.create_project ? aiven_project.this[0].ca_cert : data.aiven_project.this[0].ca_cert
  vpc_id  = var.vpc_cidr == null ? null : aiven_project_vpc.this[0].id
}

resource "aiven_project" "this" {
  count = var.create_project ? 1 : 0

  project       = var.project
  billing_group = var.billing_group

  tag {
    key   = "environment"
    value = var.environment
  }
}

data "aiven_project" "this" {
  count = var.create_project ? 0 : 1

  project = var.project
}

resource "aiven_project_vpc" "this" {
  count = var.vpc_cidr == null ? 0 : 1

  project      = local.project
  cloud_name   = var.cloud_name
  network_cidr = var.vpc_cidr
}
