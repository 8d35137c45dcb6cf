"""What /metrics says, as Prometheus reads it: a running process's page, this process's own; and what /readyz says."""

from __future__ import annotations

import http.client
import json

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from wms_tasks import metrics
from wms_tasks.instruments.kinds import Instrument


class Samples:
    """The samples of one scrape."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = {family.name: family for family in families}
        self._samples = [sample for family in families for sample in family.samples]

    def has(self, name: str) -> bool:
        """Whether there is a sample of that name."""
        return any(sample.name == name for sample in self._samples)

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with these labels; 0 where there is none."""
        return sum(s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items())

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The samples that are not 0, by the values of these labels."""
        return {tuple(s.labels[one] for one in labels): s.value for s in self._samples if s.name == name and s.value}


def ask(port: int, path: str) -> tuple[int, str]:
    """Status code and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def waits_for(port: int) -> dict[str, str | None]:
    """What each role of a process waits for, by its /readyz; whose status code says whether any does."""
    status_code, body = ask(port, "/readyz")
    found = {name: role["waits_for"] for name, role in json.loads(body)["roles"].items()}
    assert (status_code == 200) == (bool(found) and not any(found.values())), body
    return found


def is_ready(port: int) -> bool:
    """Whether all roles of a process can take work; not before it answers."""
    try:
        return not any(waits_for(port).values())
    except ConnectionRefusedError:
        return False


def scrape(port: int, path: str = "/metrics") -> Samples:
    """A process's page."""
    status_code, body = ask(port, path)
    assert status_code == 200, body
    return Samples(list(text_string_to_metric_families(body)))


def own(*instruments: Instrument) -> Samples:
    """What this process has counted; of all metrics unless some are named."""
    return Samples([f for one in instruments or metrics.BOARD.instruments.values() for f in one.collect()])
