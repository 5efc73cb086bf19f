"""`/openapi.json` and `/docs` tell of every route, and of nothing else."""

import re

from kernelport.supervisor.stack import Stack
from tests.http.calls import ask


def test_every_operation_that_is_described_is_there(stack: Stack) -> None:
    told = ask(stack.url, "GET", "/openapi.json").json()
    assert told["openapi"] == "3.1.0"
    operations = [(method.upper(), path) for path, each in told["paths"].items() for method in each]
    assert len(operations) > 50
    for method, path in operations:
        if path == "/api/events":  # it goes on for ever
            continue
        named = {each["name"] for each in told["paths"][path][method.lower()]["parameters"]}
        assert named == set(re.findall(r"{(\w+)}", path))
        reply = ask(stack.url, method, re.sub(r"{\w+}", "none", path))
        assert reply.status != 405, (method, path)
        assert b"there is nothing at" not in reply.body, (method, path)


def test_a_body_that_is_described_is_one_that_is_taken(stack: Stack) -> None:
    told = ask(stack.url, "GET", "/openapi.json").json()["paths"]["/v1/audio/speech"]["post"]
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["model", "input"]
    for name in schema["properties"]["response_format"]["enum"]:
        body = {"model": "hibari-en", "input": "Hi.", "response_format": name}
        assert ask(stack.url, "POST", "/v1/audio/speech", body).status == 200


def test_the_page_needs_no_other_origin(stack: Stack) -> None:
    page = ask(stack.url, "GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert b"/v2/models/{model}/infer" in page.body
    assert not re.search(rb"(src|href)=|https?://", page.body)
