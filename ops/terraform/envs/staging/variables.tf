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

variable "topic_suffix" {
  type        = string
  description = "WMS_TOPIC_SUFFIX: a staging system of its own, as pr-17; empty for the one that stays."
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9-]{0,20}$", var.topic_suffix))
    error_message = "topic_suffix is made of lower-case letters, digits and hyphens, at most 20."
  }
}

variable "kafka_plan" {
  type        = string
  description = "Kafka's plan at Aiven."
  default     = "startup-4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z0-9-]+$", var.kafka_plan))
    error_message = "kafka_plan looks like business-4."
  }
}

variable "pg_plan" {
  type        = string
  description = "PostgreSQL's plan at Aiven."
  default     = "startup-4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z0-9-]+$", var.pg_plan))
    error_message = "pg_plan looks like business-4."
  }
}

variable "valkey_plan" {
  type        = string
  description = "Valkey's plan at Aiven."
  default     = "startup-4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z0-9-]+$", var.valkey_plan))
    error_message = "valkey_plan looks like business-4."
  }
}
