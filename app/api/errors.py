"""The one table from errors to problems. Nothing else in the API chooses a status code for an error."""

from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from app.api.problems import FieldError, problem_response
from app.core.errors import InvalidOrder
from app.infra.database import DATABASE_ERRORS, is_database_away
from app.infra.logging import get_logger
from app.services.orders import IdempotencyConflict

log = get_logger(__name__)

_HTTP_CODES = {
    400: ("malformed_json", "The body is not JSON"),
    401: ("unauthorized", "A valid token is needed"),
    404: ("not_found", "There is no such thing"),
    405: ("method_not_allowed", "This address does not take that method"),
    413: ("body_too_large", "The body is too large"),
}


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem."""
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(InvalidOrder, _invalid_order)
    app.add_exception_handler(IdempotencyConflict, _idempotency_conflict)
    app.add_exception_handler(HTTPException, _http)
    # Named one by one, because what only the catch-all handles is raised again after its answer.
    for kind in DATABASE_ERRORS:
        app.add_exception_handler(kind, _unexpected)
    app.add_exception_handler(Exception, _unexpected)


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    found = cast(RequestValidationError, error).errors()
    if any(item["type"] == "json_invalid" for item in found):
        return problem_response(
            status=400, code="malformed_json", title="The body is not JSON", detail="the body could not be read as JSON"
        )
    errors = [
        FieldError(field=_field(item["loc"]), code=str(item["type"]), message=str(item["msg"])[:300]) for item in found
    ]
    return problem_response(
        status=422,
        code="invalid_request",
        title="The request is not well-formed",
        detail="; ".join(f"{error.field}: {error.message}" for error in errors)[:1000],
        errors=errors,
    )


def _field(location: tuple[str | int, ...]) -> str:
    """Return the field's name without the part of the request that it stands in."""
    names = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    return ".".join(names) or "body"


async def _invalid_order(request: Request, error: Exception) -> JSONResponse:
    found = cast(InvalidOrder, error)
    return problem_response(
        status=422,
        code="invalid_order",
        title="The order can never be accepted as written",
        detail=found.message,
        errors=[FieldError(field=found.field, code=found.code, message=found.message)],
    )


async def _idempotency_conflict(request: Request, error: Exception) -> JSONResponse:
    return problem_response(
        status=409,
        code="idempotency_key_reused",
        title="The idempotency key was used for another request",
        detail="this Idempotency-Key was used with a different body: use a new key for a new request",
        errors=[FieldError(field="Idempotency-Key", code="idempotency_key_reused", message="used with another body")],
    )


async def _http(request: Request, error: Exception) -> JSONResponse:
    found = cast(HTTPException, error)
    code, title = _HTTP_CODES.get(found.status_code, ("http_error", "The request cannot be served"))
    return problem_response(
        status=found.status_code,
        code=code,
        title=title,
        detail=str(found.detail),
        headers=dict(found.headers) if found.headers else None,
    )


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    if is_database_away(error):
        return problem_response(
            status=503,
            code="database_unavailable",
            title="The database cannot be reached",
            detail="repeat the request with the same Idempotency-Key in a moment: it cannot create a second order",
            headers={"Retry-After": "1"},
        )
    log.error("api.unexpected", path=request.url.path, exc_info=error)
    return problem_response(
        status=500, code="internal_error", title="Something went wrong here", detail="the error has been recorded"
    )
