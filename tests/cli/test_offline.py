"""`normalize` and `fold`: their input and output, line by line, are a contract for other people's tools."""

import json
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner, Result

from processor.cli import cli


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    result = CliRunner().invoke(cli, arguments, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def jsonl(*values: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def record(kind: str, message_id: str | None = "m-1", **fields: Any) -> dict[str, Any]:
    """A log record of KumoMTA."""
    return {
        "type": kind,
        "id": "1d98076abbbc11ed940250ebf67f93bd",
        "recipient": "user@example.com",
        "response": {"code": 250, "enhanced_code": {"class": 2, "subject": 0, "detail": 0}, "content": "OK"},
        "event_time": "2026-11-23T08:00:00.125Z",
        "meta": {"message_id": message_id, "delivery_id": "DM1"} if message_id else {},
        **fields,
    }


def event(time: int, status: str, message_id: str = "m-1", channel: str = "email", **fields: Any) -> dict[str, Any]:
    """A canonical event at a minute of one morning."""
    return {
        "time": f"2026-11-23T08:{time:02}:00Z",
        "message_id": message_id,
        "channel": channel,
        "status": status,
        **fields,
    }


GAVE_UP = {"permanence": "gave_up", "category": "mailbox_full", "code": "4.2.2"}


class TestNormalize:
    def test_ids_of_smpp_receipts_are_given_as_they_were_submitted(self):
        text = "id:38601fa sub:001 dlvrd:001 submit date:2611230800 done date:2611230805 stat:DELIVRD err:000 text:"
        options = ("--account", "north", "--smpp-id-notation", "decimal/hex")
        [line] = lines(run("normalize", "--provider", "smpp", *options, stdin=jsonl(text)))
        assert line["events"][0]["message_id"] == "smpp@north:59113978"

    def test_each_line_gives_its_number_outcome_events_and_detail(self):
        result = run("normalize", "--provider", "kumomta", stdin=jsonl(record("Delivery")))
        assert result.exit_code == 0
        assert lines(result) == [
            {
                "line": 1,
                "outcome": "events",
                "events": [
                    {
                        "time": "2026-11-23T08:00:00.125000Z",
                        "message_id": "m-1",
                        "channel": "email",
                        "status": "sent",
                        "delivery_id": "DM1",
                        "provider": "kumomta",
                        "provider_message_id": "1d98076abbbc11ed940250ebf67f93bd",
                        "recipient": "user@example.com",
                        "reason": {"code": "2.0.0", "provider_code": "250", "text": "OK"},
                    }
                ],
                "detail": "",
            }
        ]

    def test_every_outcome_and_no_line_stops_it(self):
        given = [
            json.dumps(record("Delivery")),
            json.dumps(record("Feedback")),
            json.dumps(record("Teleport")),
            json.dumps({"hello": "world"}),
            '{"type": "Deliv',
            "\udcff".encode(errors="surrogateescape").decode("latin-1"),
            "null",
            json.dumps(record("Bounce", response={"code": 550, "content": "no such user"})),
        ]
        found = lines(run("normalize", "--provider", "kumomta", stdin="\n".join(given)))
        assert [line["line"] for line in found] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert [line["outcome"] for line in found] == [
            "events",
            "no_status",
            "unknown",
            "dead",
            "dead",
            "dead",
            "dead",
            "events",
        ]
        assert all(set(line) == {"line", "outcome", "events", "detail"} for line in found)
        assert all(line["detail"] for line in found[1:7])
        assert [len(line["events"]) for line in found] == [1, 0, 0, 0, 0, 0, 0, 1]

    def test_an_array_is_a_batch_and_one_bad_element_leaves_the_others(self):
        batch = [record("Reception"), {"hello": "world"}, record("Delivery", "m-2")]
        [line] = lines(run("normalize", "--provider", "kumomta", stdin=jsonl(batch)))
        assert line["outcome"] == "events"
        assert [(told["message_id"], told["status"]) for told in line["events"]] == [
            ("m-1", "taken_into_account"),
            ("m-2", "sent"),
        ]
        assert "not what kumomta sends" in line["detail"]

    def test_a_string_is_the_payloads_text(self):
        form = "MessageSid=SM1&MessageStatus=delivered&To=%2B46701234567"
        [line] = lines(run("normalize", "--provider", "twilio", stdin=jsonl(form)))
        assert [told["status"] for told in line["events"]] == ["received_on_mobile"]

    @pytest.mark.parametrize(
        ("provider", "line", "status"),
        [
            ("twilio", "MessageSid=SM1&MessageStatus=delivered&To=%2B46701234567", "received_on_mobile"),
            ("smpp", "id:77 sub:001 dlvrd:001 done date:2611230805 stat:DELIVRD err:000 text:", "received_on_mobile"),
            (
                "postfix",
                "2026-11-23T08:00:00+00:00 m postfix/smtp[9]: 4bXYZ1: to=<u@example.com>, dsn=2.0.0, status=sent (OK)",
                "sent",
            ),
        ],
    )
    def test_a_line_that_is_not_json_is_the_payload(self, provider, line, status):
        found = lines(run("normalize", "--provider", provider, stdin=f"{line}\n\n{line}"))
        assert [(each["line"], each["events"][0]["status"]) for each in found] == [(1, status), (3, status)]

    @pytest.mark.parametrize("packed", [False, True])
    def test_csv_is_read_with_its_header_line(self, packed, tmp_path):
        header = "type,timeLogged,orig,rcpt,dsnAction,dsnStatus,header_X-Ref"
        rows = [f"d,2026-11-23 08:00:0{n}+0000,a@b.se,u{n}@example.com,relayed,2.0.0,m-{n}" for n in (1, 2)]
        text = "\n".join([header, *rows]).encode()
        file = tmp_path / "acct.csv"
        file.write_bytes(zstandard.compress(text) if packed else text)
        first, *others = lines(run("normalize", "--provider", "powermta", "--message-id-names", "X-Ref", str(file)))
        assert (first["line"], first["outcome"], first["detail"]) == (1, "no_status", "the header line")
        assert [(each["line"], each["events"][0]["status"]) for each in others] == [(2, "sent"), (3, "sent")]

    def test_a_body_of_several_lines_is_one_payload(self):
        body = json.dumps([record("Reception"), record("Delivery", "m-2")], indent=2)
        [line] = lines(run("normalize", "--provider", "kumomta", "--body", stdin=body))
        assert (line["line"], [told["message_id"] for told in line["events"]]) == (1, ["m-1", "m-2"])

    def test_what_begins_like_json_and_is_none_says_where(self):
        [line] = lines(run("normalize", "--provider", "kumomta", stdin='{"type": "Deliv'))
        assert line["outcome"] == "dead"
        assert line["detail"].startswith("it is not JSON: ")

    def test_without_ids_of_our_own_the_key_is_made_of_provider_and_its_id(self):
        [line] = lines(run("normalize", "--provider", "kumomta", stdin=jsonl(record("Delivery", None))))
        assert line["events"][0]["message_id"] == "kumomta:1d98076abbbc11ed940250ebf67f93bd:user@example.com"

    def test_our_ids_may_travel_under_other_names(self):
        payload = record("Delivery", meta={"X-Ref": "m-9", "X-Job": "DM9"})
        options = "--message-id-names", "X-Nothing,X-Ref", "--delivery-id-names", "X-Job"
        [line] = lines(run("normalize", "--provider", "kumomta", *options, stdin=jsonl(payload)))
        assert (line["events"][0]["message_id"], line["events"][0]["delivery_id"]) == ("m-9", "DM9")

    def test_it_reads_a_file_too(self, tmp_path):
        file = tmp_path / "payloads.jsonl"
        file.write_text(jsonl(record("Delivery"), record("Reception")))
        assert len(lines(run("normalize", "--provider", "kumomta", str(file)))) == 2

    def test_nothing_in_nothing_out(self):
        result = run("normalize", "--provider", "ses")
        assert (result.exit_code, result.stdout) == (0, "")

    def test_what_it_writes_can_be_folded(self):
        normalized = lines(run("normalize", "--provider", "kumomta", stdin=jsonl(record("Delivery"))))
        [row] = lines(run("fold", stdin=jsonl(*normalized[0]["events"])))
        assert (row["message_id"], row["status"]) == ("m-1", "sent")

    @pytest.mark.parametrize(
        "arguments", [(), ("--provider", "pigeon-post"), ("--provider", "kumomta", "no such file")]
    )
    def test_a_command_that_cannot_run_exits_with_2(self, arguments):
        assert run("normalize", *arguments).exit_code == 2


class TestFold:
    def test_a_row_has_exactly_the_fields_of_the_contract_in_its_order(self):
        events = [
            event(0, "pending", delivery_id="DM1", recipient="user@example.com"),
            event(1, "failed", reason=GAVE_UP | {"text": "full"}),
        ]
        result = run("fold", stdin=jsonl(*events))
        assert result.exit_code == 0
        [row] = lines(result)
        assert list(row.items()) == [
            ("message_id", "m-1"),
            ("delivery_id", "DM1"),
            ("channel", "email"),
            ("status", "failed"),
            ("permanence", "gave_up"),
            ("since", "2026-11-23T08:01:00Z"),
            ("reason", row["reason"]),
            ("rejected", []),
            ("attempt", 1),
        ]
        assert {name: value for name, value in row["reason"].items() if value is not None} == GAVE_UP | {"text": "full"}

    def test_permanence_is_null_unless_failed_and_permanent_when_not_said(self):
        events = [event(0, "sent"), event(0, "failed", "m-2"), event(0, "failed", "m-3", reason=GAVE_UP)]
        rows = lines(run("fold", stdin=jsonl(*events)))
        assert [row["permanence"] for row in rows] == [None, "permanent", "gave_up"]

    def test_rows_are_sorted_by_id_whatever_the_order_of_events(self):
        events = [event(0, "sent", message_id) for message_id in ("m-2", "b", "m-10", "å", "a", "Z")]
        rows = lines(run("fold", stdin=jsonl(*events)))
        assert [row["message_id"] for row in rows] == ["Z", "a", "b", "m-10", "m-2", "å"]

    def test_rejected_holds_node_names_sorted(self):
        events = [
            event(0, "ignored"),
            event(1, "sent"),
            event(2, "failed", reason=GAVE_UP),
            event(3, "canceled"),
        ]
        [row] = lines(run("fold", stdin=jsonl(*events)))
        assert (row["status"], row["rejected"]) == ("ignored", ["canceled", "failed_gave_up", "sent"])

    def test_verdicts_come_first_one_a_line(self):
        events = [
            event(5, "taken_into_account"),
            event(1, "pending"),
            event(1, "pending"),
            event(9, "sent"),
            event(10, "ignored"),
            event(7, "failed"),
        ]
        given = jsonl(*events) + "not JSON\n"
        found = lines(run("fold", "--verdicts", stdin=given))
        verdicts, rows = found[:-1], found[-1:]
        assert [(line["line"], line["verdict"], line["from"], line["to"]) for line in verdicts] == [
            (1, "applied", None, "taken_into_account"),
            (2, "late", "taken_into_account", "taken_into_account"),
            (3, "duplicate", "taken_into_account", "taken_into_account"),
            (4, "applied", "taken_into_account", "sent"),
            (5, "rejected", "sent", "sent"),
            (6, "corrected", "sent", "failed"),
            (7, "dead", None, None),
        ]
        assert all(list(line) == ["line", "verdict", "from", "to", "detail"] for line in verdicts)
        assert all(line["detail"] for line in verdicts)
        assert [row["status"] for row in rows] == ["failed"]

    def test_bad_lines_are_counted_on_standard_error_and_the_rest_is_folded(self):
        bad = [
            "{",
            "[]",
            json.dumps(event(0, "received_on_mobile")),
            json.dumps(event(0, "failed", reason={"permanence": "transient"})),
            json.dumps(event(0, "sent", attempt=100)),
            json.dumps({"status": "sent"}),
        ]
        result = run("fold", stdin="\n".join([bad[0], json.dumps(event(0, "sent")), *bad[1:]]))
        assert result.exit_code == 0
        assert [row["message_id"] for row in lines(result)] == ["m-1"]
        assert result.stderr.startswith("6 bad lines")

    def test_good_input_says_nothing_on_standard_error(self):
        assert run("fold", stdin=jsonl(event(0, "sent"))).stderr == ""

    def test_the_rule_about_times_ahead_needs_a_record_and_does_not_apply(self):
        [row] = lines(run("fold", stdin=jsonl(event(0, "sent") | {"time": "2126-01-01T00:00:00Z"})))
        assert row["since"] == "2126-01-01T00:00:00Z"

    def test_blank_lines_are_passed_over_but_numbered(self):
        found = lines(run("fold", "--verdicts", stdin="\n" + jsonl(event(0, "sent")) + "\n\r\n"))
        assert [line.get("line") for line in found] == [2, None]

    def test_no_events_no_rows(self):
        result = run("fold")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
