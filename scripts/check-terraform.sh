#!/usr/bin/env bash
# What Terraform itself says of ops/terraform: how it is written and, in each folder that has the provider (after
# `terraform init -backend=false`), whether it is valid, and the module's tests. What is not run is named.
set -euo pipefail

command -v terraform >/dev/null || {
  echo "terraform: not found here, run by the GitHub workflow"
  exit
}
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../ops/terraform"
terraform fmt -check -diff -recursive .
for folder in modules/wms envs/*; do
  commands=(validate)
  [[ -d $folder/tests ]] && commands+=(test)
  for command in "${commands[@]}"; do
    if [[ -d $folder/.terraform/providers ]]; then
      terraform -chdir="$folder" "$command"
    else
      echo "terraform $command: not run in $folder, which lacks Aiven's provider; the GitHub workflow runs it"
    fi
  done
done
