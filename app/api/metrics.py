"""GET /metrics: what all processes of this machine count, in Prometheus' text format."""

import asyncio

from fastapi import APIRouter, Response

from app.api.dependencies import CurrentCaller, Services
from app.api.problems import documented

router = APIRouter(prefix="/metrics", tags=["health"])
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT: dict[int | str, dict[str, object]] = {
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("", response_class=Response, responses=_TEXT | documented(401, 422, 503))
async def get_metrics(caller: CurrentCaller, services: Services) -> Response:
    """Return counts since each process began, and gauges of this moment."""
    gauges = await services.scrape.gauges()
    body = await asyncio.to_thread(services.scrape.text, gauges)
    return Response(body, media_type=MEDIA_TYPE)
