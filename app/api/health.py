"""GET /health/live and /health/ready: open without a token, and without facts that would help a stranger."""

import asyncio
from collections.abc import Coroutine

from fastapi import APIRouter, Response

from app.api.dependencies import ApiServices, Services
from app.api.schemas import Health
from app.infra.logging import get_logger
from app.queue.errors import QueueUnreachable

router = APIRouter(prefix="/health", tags=["health"])
CHECK_TIMEOUT_S = 2.0

log = get_logger(__name__)


@router.get("/live")
async def live() -> Health:
    """Tell that this process answers."""
    return Health(status="ok", components={})


@router.get("/ready", responses={503: {"model": Health, "description": "The database is away"}})
async def ready(services: Services, response: Response) -> Health:
    """Tell whether orders can be taken. Without Redis they can: they are saved, and rung for later."""
    database = await _check("database", services.uow.ping())
    queue = await _queue(services)
    status = "unavailable" if not database else "ok" if set(queue.values()) == {"ok"} else "degraded"
    response.status_code = 200 if database else 503
    return Health(status=status, components={"database": "ok" if database else "away", **queue})


async def _queue(services: ApiServices) -> dict[str, str]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            found = await services.queues.status()
    except (QueueUnreachable, TimeoutError):
        return {"redis": "away", "workers": "not known"}
    return {"redis": "ok", "workers": "ok" if found.worker_alive else "none"}


async def _check(name: str, check: Coroutine[None, None, object]) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check
    except Exception as error:  # noqa: BLE001  isolation point: whatever fails, the answer is "away"
        log.warning("health.away", part=name, error=repr(error))
        return False
    return True
