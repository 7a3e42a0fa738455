"""The API's description of itself is complete: every operation, every error, an example for whoever reads it."""

import re
from collections.abc import Iterator
from typing import Any, cast

import pytest

from app.api.application import build_application
from app.api.dependencies import ApiServices

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    # The description is made from the routes alone.
    app = build_application(cast(ApiServices, None))
    assert app.openapi() is app.openapi()
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method} {path}", operation


def schemas(node: object) -> Iterator[dict[str, Any]]:
    """Return every schema of the document: what stands under `schema`, in the components, and what these hold."""
    if isinstance(node, list):
        for item in node:
            yield from schemas(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("example", "examples", "default"):
                continue
            if key in ("schema", "items", "additionalProperties") and isinstance(value, dict):
                yield value
            if key in ("properties", "schemas"):
                yield from value.values()
            yield from schemas(value)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r"#/components/(\w+)/(\w+)", str(document)))
    assert references
    for section, name in references:
        assert name in document["components"][section]


def test_no_schema_takes_anything(document: dict[str, Any]) -> None:
    loose = [
        schema
        for schema in schemas(document)
        if not {"$ref", "type", "anyOf", "oneOf", "allOf", "enum", "const"} & set(schema)
    ]
    assert loose == []


def test_every_operation_says_what_goes_wrong_as_problems(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        if "/health/" in name:
            continue
        assert {"422", "500", "503"} | (set() if "/postbacks/" in name else {"401"}) <= set(errors), name
        for status, answer in errors.items():
            assert list(answer["content"]) == ["application/problem+json"], (name, status)
            schema = answer["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}, (name, status)
            assert len(answer["description"]) > 5
    with_body = {status for status in document["paths"]["/api/v1/orders"]["post"]["responses"] if status >= "400"}
    assert with_body == {"400", "401", "409", "413", "422", "500", "503"}


def test_every_operation_has_a_name_a_text_and_a_typed_answer(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for name, operation in operations(document):
        assert len(operation["description"]) > 10, name
        good = {status: answer for status, answer in operation["responses"].items() if status < "300"}
        typed = [list(answer["content"]) for status, answer in good.items() if status != "204"]
        kind = "text/plain" if name.endswith("/metrics") else "application/json"
        assert typed == ([] if "204" in good else [[kind]]), name


def test_whatever_a_person_sends_or_gets_has_an_example(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    for name in ("OrderIn", "OrderAccepted", "EventOut", "FillOut", "PositionOut", "Credentials", "Token", "Problem"):
        (example,) = components[name]["examples"]
        assert set(components[name]["required"]) <= set(example) <= set(components[name]["properties"]), name


def test_all_but_health_and_token_say_that_they_want_a_token(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        open_to_all = "/health/" in name or name.endswith("/auth/token") or "/postbacks/" in name
        assert ("security" in operation) is not open_to_all, name
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
