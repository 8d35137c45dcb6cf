"""
Prometheus' targets as sites: scrape_configs that go through blackbox_exporter, and files of file_sd_configs. Pure; what
such files hold is handed in.

Its reference: https://prometheus.io/docs/prometheus/latest/configuration/configuration/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wms_tasks.errors import UsageError
from wms_tasks.importing.durations import prometheus_duration_ms
from wms_tasks.importing.notes import Notes
from wms_tasks.importing.shapes import items, mapping, mappings
from wms_tasks.sites.wording import shown

MODULE_DEFAULT = "http_2xx"  # blackbox_exporter's, where the request names none
INTERVAL_MS_DEFAULT = 60_000
_USUAL_RELABELS = frozenset({"__param_target", "__param_module", "instance", "__address__"})
_SHARED_DISCOVERY = frozenset({"static_configs", "file_sd_configs"})

# The files that a pattern of file_sd_configs stands for: their names and what is in them.
Discovered = Callable[[str], Iterable[tuple[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target of a job: what is probed, how, and how often. ``labels``: none of those that begin with ``__``."""

    address: str
    module: str
    interval_ms: int
    timeout_ms: int | None
    labels: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Found:
    """All targets of one file, and what is to be said of its jobs."""

    targets: list[Target] = field(default_factory=list)
    notes: list[Notes] = field(default_factory=list)


def read_targets(root: Any, source: str, discovered: Discovered) -> Found:
    """
    The targets of prometheus.yml, or of a file_sd file (a list of ``targets`` and ``labels``).

    Raises:
        UsageError: it is neither.
    """
    found = Found()
    if isinstance(root, list):
        job = _Job(Notes(f"file {source}"), {}, {})
        found.targets.extend(job.targets_in(root))
        found.notes.append(job.notes)
    elif isinstance(root, dict) and isinstance(root.get("scrape_configs"), list):
        for written in root["scrape_configs"]:
            _read_job(mapping(written), mapping(root.get("global")), discovered, found)
    else:
        raise UsageError(f"{source}: neither prometheus.yml (scrape_configs:) nor a file of targets (a list of them)")
    return found


def _read_job(written: Mapping[str, Any], common: Mapping[str, Any], discovered: Discovered, found: Found) -> None:
    notes = Notes(f"job {written.get('job_name', '?')}")
    found.notes.append(notes)
    if not _is_blackbox(written):
        notes.say("does not go through blackbox_exporter: left out")
        return
    job = _Job(notes, written, common)
    found.targets.extend(job.targets_in(items(written.get("static_configs"))))
    for config in mappings(written.get("file_sd_configs")):
        for pattern in items(config.get("files")):
            for source, root in discovered(str(pattern)):
                found.targets.extend(job.targets_in(items(root), source))
    for key in written:
        if key.endswith("_sd_configs") and key not in _SHARED_DISCOVERY:
            notes.lost(key, "its targets are found while Prometheus runs (write them to a file_sd file)")


def _is_blackbox(written: Mapping[str, Any]) -> bool:
    relabels = mappings(written.get("relabel_configs"))
    asked = mapping(written.get("params")).get("module") or str(written.get("metrics_path", "")).endswith("/probe")
    return bool(asked) or any(relabel.get("target_label") == "__param_target" for relabel in relabels)


class _Job:
    """What the targets of one job share."""

    def __init__(self, notes: Notes, written: Mapping[str, Any], common: Mapping[str, Any]) -> None:
        self.notes = notes
        modules = items(mapping(written.get("params")).get("module"))
        self._module = str(modules[0]) if modules else MODULE_DEFAULT
        self._interval_ms = self._duration("scrape_interval", written, common) or INTERVAL_MS_DEFAULT
        self._timeout_ms = self._duration("scrape_timeout", written, common)
        self._labels = {"job": str(written["job_name"])} if "job_name" in written else {}
        self._module_label: str | None = None
        for relabel in mappings(written.get("relabel_configs")):
            self._relabel(relabel)

    def _duration(self, key: str, written: Mapping[str, Any], common: Mapping[str, Any]) -> int | None:
        return prometheus_duration_ms(written.get(key) or common.get(key))

    def _relabel(self, relabel: Mapping[str, Any]) -> None:
        target, sources = relabel.get("target_label"), items(relabel.get("source_labels"))
        if target == "__param_module" and len(sources) == 1:
            self._module_label = str(sources[0])
        elif target not in _USUAL_RELABELS:
            what = shown(str(target)) if target else f"action {shown(str(relabel.get('action', 'replace')))}"
            self.notes.lost("relabel_configs", f"{what} is Prometheus' own affair")

    def targets_in(self, groups: Iterable[Any], source: str = "") -> Iterator[Target]:
        """Those of static_configs, or of one file."""
        for group in groups:
            if not isinstance(group, dict) or not isinstance(group.get("targets"), list):
                self.notes.say(f"a list of targets{f' in {source}' if source else ''} is none: left out")
                continue
            labels = {str(name): str(value) for name, value in mapping(group.get("labels")).items()}
            for address in group["targets"]:
                yield self._target(str(address), labels)

    def _target(self, address: str, labels: Mapping[str, str]) -> Target:
        module = labels.get("__param_module") or labels.get(self._module_label or "") or self._module
        interval_ms = prometheus_duration_ms(labels.get("__scrape_interval__")) or self._interval_ms
        own = {
            name: value for name, value in labels.items() if not name.startswith("__") and name != self._module_label
        }
        return Target(
            address=address,
            module=module,
            interval_ms=interval_ms,
            timeout_ms=self._timeout_ms,
            labels={**self._labels, **own},
        )
