"""`compare` of two exports: what differs, from where to where, which messages, and an exit code."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from processor.cli import cli
from processor.cli.buckets import Pair, Side, side_by_side


def event(message_id: str, status: str, minute: int = 0, **fields: Any) -> dict[str, Any]:
    time = f"2026-11-23T08:{minute:02}:00Z"
    return {
        "message_id": message_id,
        "channel": "email",
        "status": status,
        "time": time,
        "delivery_id": "DM1",
        **fields,
    }


def jsonl(*values: object) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def folded(*events: dict[str, Any]) -> bytes:
    """Write what `export` writes of these events."""
    return CliRunner().invoke(cli, ["fold"], input=jsonl(*events)).stdout_bytes


@pytest.fixture
def compare(tmp_path):
    def run(live: bytes, shadow: bytes, *options: str) -> Result:
        for name, content in (("live", live), ("shadow", shadow)):
            (tmp_path / name).write_bytes(content)
        return CliRunner().invoke(cli, ["compare", str(tmp_path / "live"), str(tmp_path / "shadow"), *options])

    return run


LIVE = folded(event("m-1", "sent"), event("m-2", "sent"), event("m-3", "pending"), event("m-4", "sent", 5))
SHADOW = folded(
    event("m-4", "sent"),
    event("m-1", "sent"),
    event("m-2", "failed", 1, reason={"category": "refused"}),
    event("m-5", "sent"),
)


class TestTwoExports:
    def test_the_same_messages_in_any_order_agree(self, compare):
        result = compare(LIVE, b"".join(reversed(LIVE.splitlines(keepends=True))))
        assert result.exit_code == 0
        assert "4 equal; 0 with another status" in result.stdout

    def test_two_empty_ones_agree(self, compare):
        assert compare(b"", b"").exit_code == 0

    def test_what_differs_is_summed_named_and_answered_with_1(self, compare):
        result = compare(LIVE, SHADOW)
        assert result.exit_code == 1
        words = " ".join(result.stdout.split())
        assert "4 messages live and 4 shadow; 1 equal; 1 with another status; 1 with other details; " in words
        assert "; 1 only live; 1 only shadow" in words
        assert "sent failed (permanent) - refused 1" in words
        assert "1 stand at the same status with another since" in words
        assert "m-2 status sent failed" in words
        assert "m-3 only_live pending -" in words
        assert "m-4 since sent sent" in words

    def test_as_json_for_machines(self, compare):
        result = compare(LIVE, SHADOW, "--json")
        told = json.loads(result.stdout)
        assert result.exit_code == 1
        assert {name: told[name] for name in ("agrees", "live", "shadow", "equal", "left_out")} == {
            "agrees": False, "live": 4, "shadow": 4, "equal": 1, "left_out": 0,
        }  # fmt: skip
        assert {name: told[name] for name in ("status", "details", "only_live", "only_shadow")} == dict.fromkeys(
            ("status", "details", "only_live", "only_shadow"), 1
        )
        assert {move["messages"] for move in told["moves"]} == {1}
        assert {each["message_id"] for each in told["named"]} == {"m-2", "m-3", "m-4", "m-5"}
        assert "deliveries" not in told

    def test_a_few_are_named_and_all_can_be_written(self, compare):
        live = folded(*(event(f"m-{number}", "sent") for number in range(30)))
        assert "there are more; --named shows more" in compare(live, b"", "--named", "3").stdout
        result = compare(live, b"", "--all")
        differences = [json.loads(line) for line in result.stdout.splitlines()]
        assert {each["message_id"] for each in differences} == {f"m-{number}" for number in range(30)}
        assert {each["difference"] for each in differences} == {"only_live"}
        assert differences[0]["shadow"] is None
        assert "30 only live" in result.stderr
        assert result.exit_code == 1

    def test_what_moved_late_can_be_left_out(self, compare):
        result = compare(
            folded(event("m-1", "sent", 9)), folded(event("m-1", "pending")), "--until", "2026-11-23T08:05:00Z"
        )
        assert result.exit_code == 0
        assert "1 left out" in result.stdout

    def test_of_a_message_that_is_there_twice_the_last_line_counts(self, compare):
        assert (
            compare(
                folded(event("m-1", "pending")) + folded(event("m-1", "sent")), folded(event("m-1", "sent"))
            ).exit_code
            == 0
        )

    def test_a_list_of_the_api_tells_providers(self, compare):
        def item(status: str) -> dict[str, Any]:
            return {
                "message_id": "m-1", "delivery_id": "DM1", "channel": "sms", "status": status, "permanence": None,
                "since": "2026-11-23T08:00:00Z", "reason": None, "recipient": None, "provider": "twilio",
                "provider_message_id": "SM1",
            }  # fmt: skip

        [move] = json.loads(compare(jsonl(item("sent")), jsonl(item("pending")), "--json").stdout)["moves"]
        assert move == {"live": "sent", "shadow": "pending", "provider": "twilio", "category": "", "messages": 1}

    def test_one_side_may_be_standard_input(self, tmp_path):
        (tmp_path / "shadow").write_bytes(LIVE)
        assert CliRunner().invoke(cli, ["compare", "-", str(tmp_path / "shadow")], input=LIVE).exit_code == 0

    @pytest.mark.parametrize(
        "line", [b"{}", b"[]", b"{", b'{"message_id": "m-1"}', b'{"message_id": "m", "channel": "sms", "status": "x"}']
    )
    def test_a_line_of_something_else_is_named(self, compare, line):
        result = compare(LIVE, line)
        assert result.exit_code == 1
        assert "shadow, line 1: " in result.stderr
        assert "`delivery-status export` writes such lines" in result.stderr


class TestDeliveries:
    LIVE = jsonl({"delivery_id": "DM1", "messages": 2, "statuses": {"sent": 2, "failed": 0}})

    def test_the_same_counts_agree(self, compare):
        result = compare(self.LIVE, jsonl({"delivery_id": "DM1", "messages": 2, "statuses": {"sent": 2}}))
        assert result.exit_code == 0
        assert "0 of 1 deliveries counted otherwise" in result.stdout

    def test_other_counts_are_named_beside_messages(self, compare):
        result = compare(LIVE + self.LIVE, LIVE + jsonl({"delivery_id": "DM1", "messages": 1, "statuses": {"sent": 1}}))
        assert result.exit_code == 1
        assert "4 equal" in result.stdout
        assert "DM1 sent 2 sent 1" in " ".join(result.stdout.split())

    def test_as_json(self, compare):
        told = json.loads(compare(self.LIVE, b"", "--json").stdout)["deliveries"]
        assert told == {
            "compared": 1,
            "differ": 1,
            "named": [{"delivery_id": "DM1", "live": {"sent": 2}, "shadow": {"sent": 0}}],
        }

    def test_in_the_stream_they_come_last(self, compare):
        lines = compare(LIVE + self.LIVE, b"", "--all").stdout.splitlines()
        assert json.loads(lines[-1])["delivery_id"] == "DM1"
        assert len(lines) == 5


class TestBuckets:
    def test_the_last_value_of_a_key_counts_and_a_removed_one_is_not_there(self):
        with Side() as live, Side() as shadow:
            live.put(b"a", b"1")
            live.put(b"a", b"2")
            live.put(b"b", b"1")
            live.put(b"b", None)
            shadow.put(b"b", b"")
            shadow.put(b"c", None)
            shadow.put(b"c", b"3")
            assert sorted(side_by_side(live, shadow)) == [
                Pair(b"a", b"2", None),
                Pair(b"b", None, b""),
                Pair(b"c", None, b"3"),
            ]

    def test_more_than_memory_takes_comes_back_from_files(self):
        with Side() as live, Side() as shadow:
            for number in range(3_000):
                live.put(f"m-{number}".encode(), b"x" * 20_000)
                shadow.put(f"m-{number}".encode(), b"y")
            pairs = list(side_by_side(live, shadow))
        assert {pair.key for pair in pairs} == {f"m-{number}".encode() for number in range(3_000)}
        assert all((len(pair.live or b""), pair.shadow) == (20_000, b"y") for pair in pairs)
