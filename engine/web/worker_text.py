"""The series of several workers as one text: each sample says which worker it is of."""

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import define
from prometheus_client import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LABEL: Final = "worker"


@define(eq=False)
class OfWorker(Collector):
    """The series of a collector, each with the number of a worker."""

    collector: Collector
    worker: int

    def collect(self) -> Iterator[Metric]:
        """Yield the families of series."""
        for metric in self.collector.collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, LABEL: str(self.worker)}) for sample in metric.samples
            ]
            yield metric


def merged(texts: Mapping[int, str]) -> bytes:
    """Return the texts of workers as one, in which each family stands once. Their series have no label in common."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for number in sorted(texts):
        name = ""
        for line in texts[number].splitlines():
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
                families.setdefault(name, ([], []))
            if not name:
                continue
            head, samples = families[name]
            if not line.startswith("#"):
                samples.append(line)
            elif line not in head:
                head.append(line)
    lines = [line for head, samples in families.values() if samples for line in (*head, *samples)]
    return "".join(f"{line}\n" for line in lines).encode()
