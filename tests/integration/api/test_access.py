"""Who may ask: nothing but health and documentation answers without a valid token."""

import re
from uuid import uuid4

import jwt
from fastapi.routing import APIRoute

from app.infra.crypto import derive_key
from tests.harness.desk import SECRET, a_token
from tests.integration.api.conftest import Api

OPEN = {
    "/health/live",
    "/health/ready",
    "/docs",
    "/docs/oauth2-redirect",
    "/openapi.json",
    "/api/v1/auth/token",
    "/api/v1/postbacks/{broker}",  # brokers have no token of ours: what they say is a hint and never believed
}


def routes(api: Api) -> list[tuple[str, str]]:
    document = api.app.openapi()
    paths = document["paths"]
    assert isinstance(paths, dict)
    listed = {(method.upper(), path) for path, operations in paths.items() for method in operations}
    mounted = {
        (method, route.path) for route in api.app.routes if isinstance(route, APIRoute) for method in route.methods
    }
    return sorted(listed | mounted)


async def test_every_route_but_health_docs_and_token_wants_a_token(api: Api) -> None:
    del api.http.headers["Authorization"]
    asked = [(method, path) for method, path in routes(api) if path not in OPEN]
    assert len(asked) >= 5
    for method, path in asked:
        answer = await api.http.request(method, re.sub(r"\{[^}]*\}", str(uuid4()), path))
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_open_addresses_answer_without_a_token(api: Api) -> None:
    del api.http.headers["Authorization"]
    for path in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert (await api.http.get(path)).status_code == 200, path


async def test_a_token_that_is_not_ours_or_is_over_opens_nothing(api: Api) -> None:
    key = derive_key(SECRET, "sauda/token/v1")
    for authorization in (
        "",
        "Bearer",
        "Bearer ",
        "Basic YWRtaW46cmlnaHQ=",
        "Bearer not-a-token",
        "Bearer ÿ",
        f"Bearer {a_token(minutes=-1)}",
        f"Bearer {a_token(secret='another secret of 32 characters')}",
        f"Bearer {a_token(algorithm='none')}",
        f"Bearer {a_token()}x",
        "Bearer " + jwt.encode({"sub": "admin", "iss": "sauda"}, key),
        "Bearer " + jwt.encode({"sub": "admin", "exp": 9**10}, key),
        "Bearer " + jwt.encode({"sub": "a", "iss": "sauda", "exp": 9**10}, derive_key(SECRET, "sauda/vault/v1")),
    ):
        answer = await api.http.get("/api/v1/orders", headers={b"Authorization": authorization.encode("latin-1")})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), authorization


async def test_an_expired_token_says_where_to_get_a_new_one(api: Api) -> None:
    headers = {"Authorization": f"Bearer {a_token(minutes=-1)}"}
    answer = await api.http.post("/api/v1/orders", json=api.order, headers=headers | {"Idempotency-Key": "k"})
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]
    assert await api.desk.count("orders") == 0


async def test_a_password_gets_a_token_and_a_wrong_one_does_not_say_which_part_was_wrong(api: Api) -> None:
    await api.desk.add_user("admin", "right")
    await api.desk.add_user("gone", "right")
    await api.desk.execute("UPDATE users SET disabled_at = now() WHERE username = 'gone'")
    given = await api.http.post("/api/v1/auth/token", json={"username": "admin", "password": "right"})
    assert given.status_code == 200
    api.http.headers["Authorization"] = f"Bearer {given.json()['access_token']}"
    assert (await api.http.get("/api/v1/orders")).status_code == 200
    details = set()
    for username, password in (("admin", "wrong"), ("nobody", "right"), ("gone", "right")):
        answer = await api.http.post("/api/v1/auth/token", json={"username": username, "password": password})
        assert answer.status_code == 401
        details.add(answer.json()["detail"])
    assert len(details) == 1


async def test_a_login_that_is_not_well_formed_is_a_problem_and_echoes_no_password(api: Api) -> None:
    answer = await api.http.post("/api/v1/auth/token", json={"username": 1, "password": "hunter2", "x": 1})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"username", "x"}
    assert "hunter2" not in answer.text
    answer = await api.http.post("/api/v1/auth/token", json={"username": "a\x00", "password": "hunter2"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "username")


async def test_what_is_not_there_is_a_problem_too(api: Api) -> None:
    for method, path, status, code in (
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/api/v2/orders", 404, "not_found"),
        ("DELETE", "/api/v1/orders", 405, "method_not_allowed"),
        ("PATCH", "/health/live", 405, "method_not_allowed"),
    ):
        answer = await api.http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path
        assert answer.headers["content-type"] == "application/problem+json"
