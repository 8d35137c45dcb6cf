output "project" {
  description = "The Aiven project."
  value       = module.wms.project
}

output "services" {
  description = "The names of the services."
  value       = module.wms.services
}

output "topics" {
  description = "The topics of results, by version."
  value       = module.wms.topics
}

output "settings" {
  description = "WMS_ variables by role; scripts/export-tf-outputs.sh reads them."
  sensitive   = true
  value       = module.wms.settings
}

output "certificates" {
  description = "PEM files by role and name; scripts/export-tf-outputs.sh writes them."
  sensitive   = true
  value       = module.wms.certificates
}
