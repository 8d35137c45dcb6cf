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

variable "topic_suffix" {
  type        = string
  description = "WMS_TOPIC_SUFFIX: a staging system of its own, as pr-17; empty for the one that stays."
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9-]{0,20}$", var.topic_suffix))
    error_message = "topic_suffix is made of lower-case letters, digits and hyphens, at most 20."
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

  validation {
    condition     = var.vpc_cidr == null || var.topic_suffix == "" || var.create_project
    error_message = "A project has one VPC for each cloud: a system with a topic_suffix makes none in a project that is there already."
  }
}

variable "allowed_networks" {
  type        = set(string)
  description = "The networks from which the services may be reached. Everything by default: the workflow's runners come from anywhere."
  default     = ["0.0.0.0/0"]

  validation {
    condition     = length(var.allowed_networks) > 0 && alltrue([for one in var.allowed_networks : can(cidrhost(one, 0))])
    error_message = "allowed_networks holds at least one network such as 192.0.2.0/24."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags of every service, beside environment, system and managed-by."
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : can(regex("^[A-Za-z][A-Za-z0-9_-]{0,63}$", key))])
    error_message = "A tag's key begins with a letter; letters, digits, _ and -, at most 64."
  }

  validation {
    condition     = length(setintersection(keys(var.tags), ["environment", "system", "managed-by"])) == 0
    error_message = "environment, system and managed-by are set by the module."
  }
}

variable "maintenance_window" {
  type        = object({ day = string, time = string })
  description = "When Aiven may do its maintenance: day of the week, and UTC time as HH:MM:SS."
  default     = { day = "tuesday", time = "09:00:00" }

  validation {
    condition = (
      contains(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"], var.maintenance_window.day)
      && can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$", var.maintenance_window.time))
    )
    error_message = "maintenance_window has a day such as tuesday and a time such as 09:00:00."
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

variable "kafka_version" {
  type        = string
  description = "Kafka's version: major.minor."
  default     = "4.0"

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+$", var.kafka_version))
    error_message = "kafka_version looks like 4.0."
  }
}

variable "topic_versions" {
  type        = set(number)
  description = "Which versions n of the topic {env}.scraped-metrics.v{n} exist: two of them while a breaking change is rolled out."
  default     = [1]

  validation {
    condition     = length(var.topic_versions) > 0 && alltrue([for n in var.topic_versions : n >= 1 && n < 1000 && floor(n) == n])
    error_message = "topic_versions holds whole numbers from 1 to 999."
  }
}

variable "topic_partitions" {
  type        = number
  description = "Partitions of each topic; at most so many persist workers share it. Can be raised, never lowered."
  default     = 3

  validation {
    condition     = var.topic_partitions >= 1 && var.topic_partitions <= 1000 && floor(var.topic_partitions) == var.topic_partitions
    error_message = "topic_partitions is a whole number from 1 to 1000."
  }
}

variable "topic_replication" {
  type        = number
  description = "Copies of each partition, on as many brokers."
  default     = 3

  validation {
    condition     = var.topic_replication >= 2 && floor(var.topic_replication) == var.topic_replication
    error_message = "topic_replication is at least 2."
  }
}

variable "topic_min_insync_replicas" {
  type        = number
  description = "How many copies have a result before it is acknowledged. One less than topic_replication lets a broker be away."
  default     = 2

  validation {
    condition     = var.topic_min_insync_replicas >= 1 && var.topic_min_insync_replicas < var.topic_replication
    error_message = "topic_min_insync_replicas is less than topic_replication: else one broker's maintenance stops every write."
  }
}

variable "topic_retention_hours" {
  type        = number
  description = "How long Kafka keeps results: how long the persist workers or Postgres may be away without a loss."
  default     = 24

  validation {
    condition     = var.topic_retention_hours >= 24 && floor(var.topic_retention_hours) == var.topic_retention_hours
    error_message = "topic_retention_hours is a whole number, at least 24: a day to mend Postgres in."
  }
}

variable "pg_plan" {
  type        = string
  description = "PostgreSQL's plan at Aiven."
  default     = "startup-4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z0-9-]+$", var.pg_plan))
    error_message = "pg_plan looks like business-8."
  }
}

variable "pg_version" {
  type        = string
  description = "PostgreSQL's major version."
  default     = "17"

  validation {
    condition     = can(regex("^1[5-9]$", var.pg_version))
    error_message = "pg_version is 15 to 19."
  }
}

variable "reader_pool_size" {
  type        = number
  description = "Connections to PostgreSQL that all readers share."
  default     = 10

  validation {
    condition     = var.reader_pool_size >= 1 && var.reader_pool_size <= 200 && floor(var.reader_pool_size) == var.reader_pool_size
    error_message = "reader_pool_size is a whole number from 1 to 200."
  }
}

variable "valkey_plan" {
  type        = string
  description = "Valkey's plan at Aiven."
  default     = "startup-4"

  validation {
    condition     = can(regex("^[a-z]+-[a-z0-9-]+$", var.valkey_plan))
    error_message = "valkey_plan looks like startup-4."
  }
}
