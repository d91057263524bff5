"""`reasons` lists what providers said of failures: the queue that a person works through."""

import json

from click.testing import CliRunner

from processor.cli import cli


def run(*arguments, stdin=""):
    result = CliRunner().invoke(cli, ("reasons", *arguments), input=stdin)
    assert result.exception is None, result.output
    return result


def event(text, category="undefined", status="failed", **reason):
    reason |= {"text": text} | ({"category": category} if category else {})
    fields = {"time": "2026-11-23T08:00:00Z", "message_id": "m", "channel": "email", "provider": "ses"}
    return json.dumps({**fields, "status": status, "reason": reason})


LINES = "\n".join(
    (
        event("Beep 17 for anna@example.org"),
        event("Beep 18 for bo@example.org"),
        event("Boop"),
        event("No such user", category="user_unknown"),
        event("250 OK", category=None, status="sent"),
        event("Later", category=None, status="taken_into_account", permanence="transient"),
        "",
        "no event",
    )
)


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_most_frequent_first_with_a_count_and_an_example():
    first, *others = lines(run("--unqualified", "--json", "-", stdin=LINES))
    assert first == {
        "events": 2,
        "provider": "ses",
        "category": "undefined",
        "code": "",
        "provider_code": "",
        "text": "Beep #number# for #address#",
        "example": "Beep 17 for anna@example.org",
    }
    assert [(line["events"], line["text"]) for line in others] == [(1, "Later"), (1, "Boop")]


def test_without_the_flag_all_failures_are_listed():
    assert {line["category"] for line in lines(run("--json", "-", stdin=LINES))} == {"undefined", "user_unknown", ""}


def test_a_limit_cuts_the_list():
    assert len(lines(run("--unqualified", "--limit", "1", "--json", "-", stdin=LINES))) == 1


def test_several_files_are_read(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(event("Boop") + "\n", encoding="utf-8")
    (line,) = lines(run("--unqualified", "--json", str(tmp_path / "a"), str(tmp_path / "b")))
    assert line["events"] == 2


def test_people_get_a_table_and_are_told_what_is_no_event():
    result = run("--unqualified", "-", stdin=LINES)
    assert "#number#" in result.stdout
    assert "1 lines or records are no events" in result.stderr


def test_nothing_unqualified():
    assert run("--unqualified", "-", stdin=event("x", category="refused")).stdout == "none\n"
