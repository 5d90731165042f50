"""Figures for Prometheus: requests as they are served, and runs and work as the database has them when it is asked.

Every application has a registry of its own, so two of them in one process do not count each other's requests. Routes
are counted by template (`/runs/{run_id}`), never by path, so ids do not become series.
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from winnow.store.metrics import count_runs, count_work
from winnow.store.session import Database

log = structlog.get_logger(__name__)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class Metrics:
    """The registry of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter(
            "winnow_requests_total", "Requests served.", labels, registry=self.registry
        )
        self._seconds = Histogram(
            "winnow_request_duration_seconds",
            "Time until the last byte of an answer.",
            labels[:2],
            buckets=SECONDS,
            registry=self.registry,
        )

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def observe_database(self, database: Database) -> None:
        """Count runs and work whenever the figures are read."""
        self.registry.register(_StoreCollector(database))

    def render(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self.registry)


class _StoreCollector(Collector):
    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the series without asking the database: registering must not need one."""
        yield from _families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask the database; one that is away leaves these series out and the others in."""
        runs, work = _families()
        try:
            with self._database.transaction() as connection:
                for status, count in count_runs(connection).items():
                    runs.add_metric((status,), count)
                for unit in count_work(connection):
                    work.add_metric((unit.kind, unit.state, unit.queue), unit.count)
        except SQLAlchemyError as error:
            log.warning("metrics.database_away", error=str(error))
            return
        yield runs
        yield work


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily("winnow_runs", "Runs by status.", labels=("status",)),
        GaugeMetricFamily("winnow_work_units", "Units of work.", labels=("kind", "state", "queue")),
    )
