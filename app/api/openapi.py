"""The API's description of itself: what FastAPI makes of the routes, with problems under their own media type."""

from typing import TypedDict, cast

from fastapi import FastAPI

from app.api.problems import PROBLEM_MEDIA_TYPE

_PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}


class _Response(TypedDict, total=False):
    content: dict[str, dict[str, object]]


class _Operation(TypedDict):
    responses: dict[str, _Response]


class _Document(TypedDict):
    paths: dict[str, dict[str, _Operation]]


class DescribedApp(FastAPI):
    """A FastAPI application whose OpenAPI document says `application/problem+json` where it answers with that."""

    def openapi(self) -> dict[str, object]:
        """Return the OpenAPI document; the same one again once it is made."""
        document = super().openapi()
        for operations in cast(_Document, document)["paths"].values():
            for operation in operations.values():
                for response in operation["responses"].values():
                    _name_problem(response)
        return document


def _name_problem(response: _Response) -> None:
    content = response.get("content", {})
    if content.get("application/json", {}).get("schema") == _PROBLEM_SCHEMA:
        content[PROBLEM_MEDIA_TYPE] = content.pop("application/json")
