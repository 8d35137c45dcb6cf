#!/usr/bin/env bash
# Prints what a role needs of an environment made by ops/terraform, as `export WMS_...` lines, and writes its certificates.
#
#   settings=$(scripts/export-tf-outputs.sh staging worker) && eval "$settings"
#
# ENV is staging or prod. ROLE is beat, worker, persist, housekeeping, migrate, reader, release, bootstrap (Postgres' owner,
# for bootstrap.sql), or operator (the default: the broker, and Postgres for reading). Certificates go to WMS_CERTS_DIR (else certs), each 0600. With --check nothing is
# written or printed: it is told what is missing in the state, and which files differ from it or may be read by others.
# Status: 0 well, 1 not, 2 wrongly called.
set -euo pipefail

usage() {
  echo "usage: ${0##*/} [--check] ENV [ROLE]" >&2
  exit 2
}

check=
words=()
for word in "$@"; do
  case $word in
    --check) check=yes ;;
    -*) usage ;;
    *) words+=("$word") ;;
  esac
done
((${#words[@]} == 1 || ${#words[@]} == 2)) || usage
environment=${words[0]}
role=${words[1]:-operator}

folder=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)/ops/terraform/envs/$environment
[[ $environment =~ ^[a-z]+$ && -d $folder ]] || {
  echo "${0##*/}: there is no environment $environment in ops/terraform/envs" >&2
  exit 2
}
command -v terraform >/dev/null || {
  echo "${0##*/}: terraform is not found" >&2
  exit 1
}

# Taken whole before anything is written, so that a terraform that fails half-way leaves everything as it was.
outputs=$(terraform -chdir="$folder" output -json)
python3 /dev/fd/3 "$role" "${WMS_CERTS_DIR:-certs}" "$check" 3<<'PYTHON' <<<"$outputs"
import json
import os
import re
import shlex
import stat
import sys
from pathlib import Path

ROLE, CERTS, CHECK = sys.argv[1], Path(sys.argv[2]).absolute(), bool(sys.argv[3])


def stop(*lines):
    for line in lines:
        print(f"export-tf-outputs: {line}", file=sys.stderr)
    sys.exit(1)


def of_role(outputs, name):
    by_role = (outputs.get(name) or {}).get("value")
    if not isinstance(by_role, dict):
        stop(f"the state has no output {name}: was it applied, and is this its folder?")
    if ROLE not in by_role:
        stop(f"the output {name} has no role {ROLE}; there are: {', '.join(sorted(by_role))}")
    return by_role[ROLE]


def odd(settings, files):
    """What must not go into a shell or a folder, whatever the state says."""
    for name, value in settings.items():
        if not re.fullmatch(r"WMS_[A-Z0-9_]+", name):
            yield f"{name!r} is no name of a setting"
        elif not isinstance(value, str) or "\0" in value:
            yield f"{name} is no text"
        elif not value and name != "WMS_TOPIC_SUFFIX":
            yield f"{name} is empty"
    for name, text in files.items():
        if not re.fullmatch(r"[a-z0-9-]+\.pem", name):
            yield f"{name!r} is no name of a certificate"
        elif not isinstance(text, str) or "-----BEGIN " not in text:
            yield f"{name} is no PEM"


def differs(files):
    for name, text in files.items():
        path = CERTS / name
        try:
            mode, there = stat.S_IMODE(path.stat().st_mode), path.read_text(encoding="utf-8")
        except OSError as error:
            yield f"{path}: {error.strerror}"
            continue
        if mode & 0o077:
            yield f"{path} may be read by others (mode {mode:04o})"
        if there != text:
            yield f"{path} is not what the state has"


def write(files):
    """Each whole or not at all, and never readable by others for a moment."""
    CERTS.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in files.items():
        aside = CERTS / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        aside.replace(CERTS / name)


try:
    found = json.load(sys.stdin)
except ValueError as error:
    stop(f"terraform's outputs are no JSON: {error}")
settings, files = of_role(found, "settings"), of_role(found, "certificates")
if faults := list(odd(settings, files)):
    stop(*faults)
if CHECK:
    if faults := list(differs(files)):
        stop(*faults)
    sys.exit()
try:
    write(files)
except OSError as error:
    stop(f"{error.filename}: {error.strerror}")
settings["WMS_CERTS_DIR"] = str(CERTS)
if "WMS_SCHEMA_REGISTRY_URL" in settings:
    settings["WMS_SCHEMA_REGISTRY_CA"] = str(CERTS / "ca.pem")
for name, value in sorted(settings.items()):
    print(f"export {name}={shlex.quote(value)}")
PYTHON
