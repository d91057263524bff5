"""A command imports what it needs, and no more: one that asks no broker starts without what talks to brokers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from processor.cli import COMMANDS, cli
from processor.cli.gateway import GATEWAY_COMMANDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

#: What takes long to import, and only talks to brokers, serves pages, logs or draws.
HEAVY = {
    "aiohttp", "aiokafka", "asyncio", "cryptography", "faust", "jinja2", "mode", "prometheus_client", "rich",
    "structlog", "uvloop", "zstandard",
}  # fmt: skip

#: Runs a command, then writes which packages it has imported, as the last line.
PROGRAM = """
import json, sys
sys.argv[0] = "delivery-status"
from processor.__main__ import main
try:
    main()
finally:
    sys.stdout.flush()
    print("\\n" + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

EVENT = b'{"message_id":"m-1","channel":"email","status":"failed","time":"2026-11-23T08:00:00Z"}\n'
PAYLOAD = b'"MessageSid=SM01&MessageStatus=delivered&To=%2B46701234567"\n'


def imported_by(*arguments: str, stdin: bytes = b"") -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, input=stdin, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    return set(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("--version",), b""),
        (("--help",), b""),
        (("normalize", "--provider", "twilio"), PAYLOAD),
        (("normalize", "--help"), b""),
        (("size", "--messages", "1000000"), b""),
        (("schemas", "row"), b""),
        (("compare", "-", os.devnull), b""),
        (("compare", "--help"), b""),
        (("fold", "--verdicts"), EVENT),
        (("fold", "--help"), b""),
        (("gateway", "verify", "--provider", "twilio"), b"{}"),
        (("gateway", "--help"), b""),
        (("reasons", "--json", "-"), EVENT),
        (("reasons", "--help"), b""),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_a_command_that_asks_no_broker_imports_nothing_for_it(arguments, stdin):
    assert imported_by(*arguments, stdin=stdin) & HEAVY == set()


def test_reasons_for_people_are_drawn_without_a_client_of_kafka():
    assert imported_by("reasons", "-", stdin=EVENT) & HEAVY <= {"rich"}


@pytest.fixture(params=COMMANDS)
def name(request):
    return request.param


def test_a_command_is_where_the_table_says_under_the_name_that_it_has(name):
    assert cli.get_command(click.Context(cli), name).name == name


def test_the_list_says_of_a_command_what_its_own_help_begins_with(name):
    command = cli.get_command(click.Context(cli), name)
    assert COMMANDS[name].summary == command.get_short_help_str(limit=1_000)


@pytest.mark.parametrize("name", GATEWAY_COMMANDS)
def test_the_list_of_the_gateways_commands_says_the_same_as_their_help(name):
    group = cli.get_command(click.Context(cli), "gateway")
    command = group.get_command(click.Context(group), name)
    assert (command.name, command.get_short_help_str(limit=1_000)) == (name, GATEWAY_COMMANDS[name].summary)


def test_an_unknown_command_has_no_place():
    assert cli.get_command(click.Context(cli), "alive") is None
