"""Problem details (RFC 9457): the one shape of every error that this API answers with."""

import json

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

PROBLEM_MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(examples=["quantity"])
    code: str = Field(examples=["quantity_off_lot"])
    message: str = Field(examples=["quantity must be a multiple of the lot size 65"])


class ProblemResponse(JSONResponse):
    """A problem on the wire, in ASCII: a name that the caller made up may hold what UTF-8 cannot carry."""

    media_type = PROBLEM_MEDIA_TYPE

    def render(self, content: object) -> bytes:
        """Return the body."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class Problem(BaseModel):
    """An error. `code` is stable: programs may rely on it; title and detail are for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:sauda:problem:invalid_order",
                    "title": "The order can never be accepted as written",
                    "status": 422,
                    "code": "invalid_order",
                    "detail": "price must be a multiple of the tick size 0.05",
                    "errors": [
                        {
                            "field": "price",
                            "code": "price_off_tick",
                            "message": "price must be a multiple of the tick size 0.05",
                        }
                    ],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] = []


def problem_response(
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Return an `application/problem+json` response."""
    problem = Problem(
        type=f"urn:sauda:problem:{code}", title=title, status=status, code=code, detail=detail, errors=errors or []
    )
    return ProblemResponse(problem.model_dump(), status_code=status, headers=headers)


def documented(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Return the OpenAPI entries of the problems that an operation may answer with, 500 among them."""
    return {status: {"model": Problem, "description": DESCRIPTIONS[status]} for status in (*statuses, 500)}


DESCRIPTIONS = {
    400: "The body is not JSON",
    401: "No valid token",
    404: "There is no such thing",
    409: "Refused by the present state, or a key that was used for another body",
    413: "The body is too large",
    422: "Fields are missing, unknown or wrong: each is named",
    500: "Something went wrong here; it has been recorded",
    503: "The database is away; nothing was saved, or repeating the request with the same key tells",
}
