"""Ids and texts are data: no command takes them for markup, or lets them tell the terminal anything."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import processor.cli
from processor.cli.common import Failure, console, echo, echo_error, echo_table
from processor.cli.deliveries import _unknown
from processor.cli.demo_screen import Screen
from processor.views.deliveries import Deliveries
from processor.views.entries import Entry

pytestmark = pytest.mark.slow

HOSTILE = [
    "[/foo]",
    "[red]x[/red]",
    "[link=file:///etc]x",
    ":smile:",
    "\x1b]0;title\x07",
    "\x9b2J",
    "a\nb",
    "a\u202eb",
    "\udc80",
]
SOUGHT = "DM1042-autumn-sale-first-wave-reminder"
ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=60)

#: Where text meets the terminal: everything else calls these.
_MODULES = sorted(Path(processor.cli.__file__).parent.glob("*.py"))


def is_safe(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text)


@pytest.mark.parametrize("value", HOSTILE)
class TestValues:
    def test_in_a_table(self, capsys, value):
        echo_table([value, "n"], [[value, 1_000], ["m", 2]], title=value)
        told = capsys.readouterr().out
        assert is_safe(told)
        assert told.count("\n") == 4
        for bracket in ("[/foo]", "[red]", ":smile:"):
            assert (bracket in told) is (bracket in value)

    def test_in_a_line(self, capsys, value):
        echo(f"{value}: delivered")
        told = capsys.readouterr().out
        assert is_safe(told)
        assert told.count("\n") == 1

    def test_in_an_error(self, capsys, value):
        echo_error(Failure(f"delivery {value!r} is not known; did you mean {value!r}?"))
        echo_error(click.FileError(value.replace("\n", ""), value.replace("\n", "")))
        told = capsys.readouterr().err
        assert is_safe(told)
        assert told.count("\n") == 2

    def test_on_the_screen_of_the_demo(self, capsys, value):
        screen = Screen(as_json=False)
        screen.tell(value)
        screen._console = console()
        screen.tell(value)
        told = capsys.readouterr().out
        assert is_safe(told)
        assert told.count("\n") == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY_TEXT)
def test_no_text_is_too_much(capsys, text):
    echo_table([text], [[text]], title=text)
    echo(text)
    echo_error(click.UsageError(text))
    told = capsys.readouterr()
    assert is_safe(told.out)
    assert is_safe(told.err)


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: path.stem)
def test_no_command_writes_to_the_terminal_by_itself(path):
    """`echo`, `echo_table` and `console` of common.py make text safe; JSON is written as bytes."""
    found = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    allowed = {"click.echo", "Console", "error.show"} if path.stem == "common" else set()
    assert not (found & {"click.echo", "click.secho", "print", "Console", "rich.print", "error.show"}) - allowed


def _run(arguments, lines=b"", **environment):
    return subprocess.run(
        [sys.executable, "-m", "processor", *arguments],
        input=lines,
        capture_output=True,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )


EVENT = {
    "message_id": "m-1",
    "status": "failed",
    "channel": "email",
    "time": "2026-11-24T06:00:00Z",
    "provider": "x[/foo]\x1b[2J",
    "reason": {"permanence": "permanent", "text": "[/bar] \x1b]0;t\x07 \u202e[bold]no such user", "code": "[red]"},
}


class TestCommands:
    @pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
    def test_reasons_are_data(self, tmp_path, encoding):
        file = tmp_path / "events"
        file.write_text(json.dumps(EVENT))
        done = _run(["reasons", str(file)], PYTHONIOENCODING=encoding, COLUMNS="200")
        assert done.returncode == 0, done.stderr
        told = done.stdout.decode(encoding)
        assert is_safe(told)
        assert "[/foo]" in told
        assert "[red]" in told

    def test_json_stays_exact(self, tmp_path):
        file = tmp_path / "events"
        file.write_text(json.dumps(EVENT))
        done = _run(["reasons", "--json", str(file)])
        assert json.loads(done.stdout)["example"] == EVENT["reason"]["text"]

    @pytest.mark.parametrize(
        "arguments",
        [["reasons", "/no\x1b[2Jsuch"], ["\x1b[2J"], ["fold", "--\x1b[2J"], ["normalize", "--provider", "\x1b"]],
    )
    def test_what_is_wrong_with_arguments_is_told_safely(self, arguments):
        done = _run(arguments)
        assert done.returncode == 2
        assert is_safe(done.stderr.decode())

    def test_a_setting_that_is_wrong_is_told_safely(self):
        done = _run(["deliveries"], DELIVERY_BROKERS="\x1b[2J")
        assert done.returncode == 2
        assert is_safe(done.stderr.decode())

    @pytest.mark.parametrize(("arguments", "code"), [(["control", b"\xff", "start"], 2), (["message", b"\xff"], 4)])
    def test_an_id_that_is_not_utf_8_is_told(self, arguments, code):
        done = _run(arguments)
        assert done.returncode == code
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("value", [each for each in HOSTILE if each != "\udc80"])
def test_a_delivery_that_is_like_the_one_sought_is_named_safely(capsys, value):
    known = Deliveries(10, 0)
    known.entries[SOUGHT + value] = Entry(SOUGHT + value)
    echo_error(_unknown(known, SOUGHT))
    told = capsys.readouterr().err
    assert "did you mean" in told
    assert is_safe(told)
    assert told.count("\n") == 1
