"""One scrape: the counts of all processes, and gauges of the queue, the open orders and the open alerts."""

from pathlib import Path

from app.infra.metrics import Gauges, gathered
from app.queue.errors import QueueUnreachable
from app.queue.queue_manager import QueueManager
from app.repositories.unit_of_work import UnitOfWork


class Scrape:
    """Reads gauges and adds up the processes' counts."""

    def __init__(self, *, uow: UnitOfWork, queues: QueueManager, folder: Path) -> None:
        self._uow = uow
        self._queues = queues
        self._folder = folder

    async def gauges(self) -> Gauges:
        """Return the gauges of this moment; those of a Redis that is away are left out."""
        async with self._uow.statement() as tx:
            orders = await tx.gauges.open_orders()
            commands = await tx.gauges.open_commands()
            alerts = await tx.gauges.open_alerts()
        return {
            "sauda_orders_open": ("Orders that are not over", "status", orders),
            "sauda_commands_open": ("Commands that are not done", "state", commands),
            "sauda_alerts_open": ("Alerts that nobody and nothing has closed", "kind", alerts),
            **await self._queue(),
        }

    def text(self, gauges: Gauges) -> bytes:
        """Return gauges and counts as Prometheus' text; reads files, so not for an event loop."""
        return gathered(self._folder, gauges)

    async def _queue(self) -> Gauges:
        try:
            status = await self._queues.status()
        except QueueUnreachable:
            return {}
        lanes = {lane.value: depth for lane, depth in status.lanes.items()}
        return {
            "sauda_queue_waiting": ("Bells that wait", "lane", {lane: d.waiting for lane, d in lanes.items()}),
            "sauda_queue_delayed": ("Bells put off", "lane", {lane: d.delayed for lane, d in lanes.items()}),
            "sauda_queue_running": ("Bells held by workers", "lane", {lane: d.running for lane, d in lanes.items()}),
            "sauda_queue_oldest_age_seconds": (
                "Age of the bell that has waited longest",
                "lane",
                {lane: d.oldest_age_s or 0.0 for lane, d in lanes.items()},
            ),
        }
