"""The FastAPI application: routers, errors and limits put together."""

from fastapi import APIRouter, FastAPI

from app.api import (
    account_blocks,
    accounts,
    alerts,
    auth,
    balances,
    dead_letters,
    fills,
    health,
    metrics,
    order_changes,
    orders,
    positions,
    postbacks,
    reconciliations,
    resolutions,
)
from app.api.body_limit import BodyLimit
from app.api.dependencies import ApiServices
from app.api.errors import install_error_handlers
from app.api.openapi import DescribedApp

DESCRIPTION = """
Sauda takes order intents and places each at the broker **once, or says exactly why not**.

Get a token at `/api/v1/auth/token`, then send `Authorization: Bearer <token>` with every request.
Errors are problem details (RFC 9457) with a stable `code`. Money is text, times carry their offset.
"""


def build_application(services: ApiServices) -> FastAPI:
    """Return the application over wired services."""
    app = DescribedApp(title="Sauda", version="1", description=DESCRIPTION, openapi_url="/openapi.json", redoc_url=None)
    app.state.services = services
    versioned = APIRouter(prefix="/api/v1")
    for module in (
        auth,
        orders,
        order_changes,
        resolutions,
        fills,
        positions,
        balances,
        reconciliations,
        accounts,
        account_blocks,
        alerts,
        dead_letters,
        postbacks,
    ):
        versioned.include_router(module.router)
    app.include_router(versioned)
    app.include_router(health.router)
    app.include_router(metrics.router)
    install_error_handlers(app)
    app.add_middleware(BodyLimit)
    return app
