"""Assemble one worker and its HTTP server; `worker` and `demo` run it."""

from __future__ import annotations

import time
from typing import NamedTuple

from processor.domain.moment import Micros
from processor.domain.traits import SuccessFrom
from processor.engine.store.opening import check_store
from processor.engine.worker import Worker
from processor.installed import commit
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import stage_names, stages
from processor.views.deliveries import Deliveries
from processor.watch.board import Board
from processor.web.server import Server, advertised_url
from processor.web.site import Site


class Assembly(NamedTuple):
    """A worker, its metrics and its HTTP server, not yet started."""

    settings: Settings
    metrics: Metrics
    worker: Worker
    server: Server

    async def serve(self) -> str:
        """Start the server, set the URL that the worker advertises, and return the address.

        Raises:
            OSError: the address of the settings cannot be bound.
        """
        address = await self.server.start()
        self.worker.url = advertised_url(self.settings, address)
        return address


def _deliveries(settings: Settings) -> Deliveries:
    now = Micros(time.time_ns() // 1000)
    return Deliveries(settings.concurrency_limit, now, SuccessFrom(settings.success_from))


def assemble(settings: Settings) -> Assembly:
    """Assemble a worker.

    Raises:
        SettingsError: the settings name a provider or a topic that there is not, or a store that cannot be opened.
    """
    check_store(settings)
    metrics = Metrics(stage_names(settings), commit(settings.commit))
    board, deliveries = Board(metrics), _deliveries(settings)
    worker = Worker(settings, stages(settings, metrics, board), metrics)
    server = Server(settings, metrics, worker, [Site(settings, metrics, worker, board, deliveries)])
    return Assembly(settings, metrics, worker, server)
