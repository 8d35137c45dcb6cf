variable "project" {
  type        = string
  description = "The Aiven project; staging and prod may share one."

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,62}$", var.project))
    error_message = "project is an Aiven project's name: lower-case letters, digits and hyphens, at most 63."
  }
}

variable "create_project" {
  type        = bool
  description = "Whether the project is made here, for this environment alone."
  default     = false
}

variable "billing_group" {
  type        = string
  description = "The id of the billing group of a project made here; else null."
  default     = null

  validation {
    condition     = !var.create_project || var.billing_group != null
    error_message = "A project that is made here needs a billing_group."
  }
}

variable "cloud_name" {
  type        = string
  description = "The cloud and region of every service, as Aiven names them."
  default     = "google-europe-west1"

  validation {
    condition     = can(regex("^[a-z0-9]+(-[a-z0-9]+)+$", var.cloud_name))
    error_message = "cloud_name looks like google-europe-west1."
  }
}

variable "vpc_cidr" {
  type        = string
  description = "The IPv4 network of the services' VPC; null: none."
  default     = null

  validation {
    condition     = var.vpc_cidr == null || can(cidrnetmask(var.vpc_cidr))
    error_message = "vpc_cidr is an IPv4 network such as 10.0.0.0/24."
  }
}

variable "allowed_networks" {
  type        = set(string)
  description = "The networks from which the services may be reached: prod names them."

  validation {
    condition     = length(var.allowed_networks) > 0 && alltrue([for one in var.allowed_networks : can(cidrhost(one, 0))])
    error_message = "allowed_networks holds at least one network such as 192.0.2.0/24."
  }
}

variable "kafka_plan" {
  type        = string
  description = "Kafka's plan at Aiven."
  default     = "business-4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z0-9-]+$", var.kafka_plan))
    error_message = "kafka_plan looks like business-4."
  }
}

variable "pg_plan" {
  type        = string
  description = "PostgreSQL's plan at Aiven."
  default     = "business-8"

  validation {
    condition     = can(regex("^[a-z]+-[a-z0-9-]+$", var.pg_plan))
    error_message = "pg_plan looks like business-4."
  }
}

variable "valkey_plan" {
  type        = string
  description = "Valkey's plan at Aiven."
  default     = "business-4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z0-9-]+$", var.valkey_plan))
    error_message = "valkey_plan looks like business-4."
  }
}
