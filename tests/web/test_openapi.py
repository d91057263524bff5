"""The OpenAPI document is one, and the running server does what it says."""

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from processor.web.openapi import document
from processor.web.routes import ROUTES
from tests.web.workers import WRITE_TOKEN, workers

DOCUMENT = json.loads(json.dumps(document(ROUTES)))
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def test_it_is_an_openapi_3_1_document():
    # It builds dozens of grammars when it is imported, for two seconds; every process of pytest imports this file.
    from openapi_spec_validator import OpenAPIV31SpecValidator

    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_every_route_is_described():
    described = {(path, method) for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert described == {(route.path, route.method.lower()) for route in ROUTES}
    operations = [operation for each in DOCUMENT["paths"].values() for operation in each.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] for operation in operations)


def test_every_schema_is_described_and_used():
    text = json.dumps(DOCUMENT)
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["description"], name
        assert f'"#/components/schemas/{name}"' in text


def test_only_writes_and_what_is_for_operators_need_a_token_everywhere():
    for route in ROUTES:
        security = DOCUMENT["paths"][route.path][route.method.lower()]["security"]
        assert security == ([{"token": []}] if route.writes or route.is_for_operators else [{"token": []}, {}])


def test_a_503_says_when_to_ask_again():
    for operations in DOCUMENT["paths"].values():
        for operation in operations.values():
            if "503" in operation["responses"]:
                assert "Retry-After" in operation["responses"]["503"]["headers"]


@contextmanager
def served():
    """Serve a world in a thread of its own, for a client that waits."""
    started, ending = threading.Event(), threading.Event()
    urls = []

    async def serve() -> None:
        # Two, so that every second answer comes over the hop.
        async with workers(2, addresses_key="a secret of senders") as made:
            urls.append(made[0].url)
            started.set()
            while not ending.is_set():  # noqa: ASYNC110 - what ends it is another thread
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(30)
        yield urls[0]
    finally:
        ending.set()
        thread.join()


@pytest.mark.slow
def test_the_server_does_what_it_says(tmp_path):
    """Schemathesis asks what the document allows, and what it does not, and judges every answer by the document."""
    pytest.importorskip("schemathesis", reason="needs Python 3.11")
    with served() as url:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(CONFIGURATION)),
                *("run", f"{url}/api/openapi.json", "-H", f"Authorization: Bearer {WRITE_TOKEN}"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    sys.stdout.write(run.stdout + run.stderr)
    assert run.returncode == 0
