"""A stream of messages is the whole list, or it is cut off and goes on where it stopped."""

import csv
import io
import json
from typing import Any

import aiohttp
import pytest

from processor.views import message_csv
from processor.web import message_streams
from processor.web.message_streams import stream_type
from tests.web.workers import READ_TOKEN, WRITE_TOKEN, TheGroup, ago, event, workers

CSV, NDJSON = "text/csv", "application/x-ndjson"


def many(number: int) -> list[dict[str, Any]]:
    return [event(f"n-{each}", "sent", ago(minutes=each // 3)) for each in range(number)]


async def read(worker: Any, media_type: str, query: str = "", token: str = WRITE_TOKEN) -> tuple[int, bytes]:
    headers = {"Accept": media_type, "Authorization": f"Bearer {token}"}
    async with worker.session.get(f"{worker.url}/api/v1/messages{query}", headers=headers) as response:
        if response.status == 200:
            assert response.headers["Content-Type"] == f"{media_type}; charset=utf-8"
            assert response.headers["Vary"] == "Accept"
        return response.status, await response.read()


async def lines(worker: Any, query: str = "", **options: Any) -> list[dict[str, Any]]:
    status, body = await read(worker, NDJSON, query, **options)
    assert status == 200
    return [json.loads(line) for line in body.splitlines()]


async def rows(worker: Any, query: str = "", **options: Any) -> list[dict[str, str]]:
    status, body = await read(worker, CSV, query, **options)
    assert status == 200
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(message_streams, "MAX_LIMIT", 4)
    monkeypatch.setattr(message_streams, "_RETRY_SECONDS", 0.0)


async def test_json_lines_are_the_items_of_the_list(small_pages):
    async with workers(3, events=many(30)) as [one, other, _]:
        _, whole, _ = await one.ask("/api/v1/messages?limit=100", WRITE_TOKEN)
        assert await lines(one) == await lines(other) == whole["items"]


async def test_csv_has_the_same_in_columns(small_pages):
    async with workers(2) as [one, _]:
        _, whole, _ = await one.ask("/api/v1/messages?limit=100", WRITE_TOKEN)
        found = await rows(one)
        assert [row["message_id"] for row in found] == [item["message_id"] for item in whole["items"]]
        [failed] = [row for row in found if row["status"] == "failed"]
        assert tuple(failed) == message_csv.COLUMNS
        assert failed == {
            **dict.fromkeys(message_csv.COLUMNS, ""),
            "message_id": "m-1",
            "delivery_id": "DM1",
            "channel": "email",
            "status": "failed",
            "permanence": "permanent",
            "since": ago(minutes=28),
            "recipient": "ulla.b@example.com",
            "reason_category": "user_unknown",
            "reason_code": "5.1.1",
            "provider": "kumomta",
            "reason_text": "550 5.1.1 <Ulla.B@example.com>: no such user, ask postmaster@example.com",
            "provider_message_id": "1d98",
            "reference": "m-1",
        }


async def test_a_link_asks_for_a_stream_by_a_parameter(small_pages):
    async with workers(1, events=many(10)) as [one]:
        for name, media_type in (("csv", CSV), ("ndjson", NDJSON)):
            headers = {"Accept": "text/html,*/*;q=0.8", "Authorization": f"Bearer {WRITE_TOKEN}"}
            url = f"{one.url}/api/v1/messages?status=sent&format={name}"
            async with one.session.get(url, headers=headers) as response:
                assert response.headers["Content-Type"] == f"{media_type}; charset=utf-8"
                assert response.headers["Content-Disposition"] == f'attachment; filename="messages.{name}"'
                assert await response.read() == (await read(one, media_type, "?status=sent"))[1]


async def test_messages_that_name_no_delivery_can_be_asked_for():
    lone = [event("lone", "sent", ago(minutes=1)), event("of-one", "sent", ago(minutes=1), delivery_id="DM1")]
    async with workers(2, events=lone) as [one, _]:
        assert [item["message_id"] for item in await lines(one, "?delivery=")] == ["lone"]


async def test_an_empty_list_is_a_header_alone():
    async with workers(1, events=[]) as [one]:
        assert await read(one, CSV) == (200, ",".join(message_csv.COLUMNS).encode() + b"\r\n")
        assert await read(one, NDJSON) == (200, b"")


async def test_filters_and_limit_hold_for_streams(small_pages):
    async with workers(2, events=many(30)) as [one, _]:
        assert [each["message_id"] for each in await lines(one, "?limit=6&status=sent")] == [
            each["message_id"] for each in (await lines(one))[:6]
        ]
        assert await lines(one, "?status=failed") == []


async def test_a_stream_goes_on_behind_any_line(small_pages):
    async with workers(2, events=many(12)) as [one, other]:
        whole = await rows(one)
        for number, row in enumerate(whole):
            rest = await rows(other, f"?cursor={row['since']}/{row['reference']}")
            assert rest == whole[number + 1 :]


async def test_readers_see_masks():
    async with workers(2, read_token=READ_TOKEN) as [one, _]:
        for media_type in (CSV, NDJSON):
            _, body = await read(one, media_type, token=READ_TOKEN)
            text = body.decode().lower()
            assert [told for told in ("ulla.b", "ulla@", "x@example", "1234512") if told in text] == []


async def test_what_a_spreadsheet_would_calculate_is_a_text():
    odd = [
        event(
            "=1+1", "failed", ago(minutes=3), recipient="+46701234512", channel="sms", reason={"text": "=HYPERLINK(1)"}
        ),
        event("-1", "failed", ago(minutes=2), provider="@x", reason={"code": "+1", "text": 'two\nlines, "quoted"'}),
    ]
    async with workers(1, events=odd) as [one]:
        first, second = await rows(one)
        assert (first["message_id"], first["provider"], first["reason_code"]) == ("-1", "'@x", "'+1")
        assert first["reason_text"] == 'two\nlines, "quoted"'
        assert (second["message_id"], second["recipient"]) == ("=1+1", "+46701234512")
        assert second["reason_text"] == "'=HYPERLINK(1)"


class TestWhatCannotBeHad:
    async def test_at_all_is_a_problem(self, monkeypatch):
        monkeypatch.setattr(message_streams, "_PATIENCE_SECONDS", 0.0)
        async with workers(2) as [one, other]:
            other.owned.recovering = {1}
            status, body = await read(one, CSV)
            assert (status, json.loads(body)["type"]) == (503, "urn:delivery-status:problem:recovering")
            assert "1" in json.loads(body)["detail"]

    async def test_in_the_middle_cuts_the_stream_off(self, small_pages, monkeypatch):
        monkeypatch.setattr(message_streams, "_PATIENCE_SECONDS", 0.0)
        async with workers(2, events=many(30)) as [one, other]:
            asked = one.answers.messages

            async def ask(given, *, reveal):
                found = await asked(given, reveal=reveal)
                other.owned.recovering = {1}
                return found

            monkeypatch.setattr(one.answers, "messages", ask)
            with pytest.raises(aiohttp.ClientError):
                await read(one, NDJSON)

    async def test_for_a_while_is_waited_for(self, small_pages, monkeypatch):
        group = TheGroup()
        async with workers(2, group, events=many(30)) as [one, other]:
            asked = one.answers.messages

            async def ask(given, *, reveal):
                found = await asked(given, reveal=reveal)
                # It recovers while it is asked for.
                other.owned.recovering = set() if other.owned.recovering else {1}
                return found

            monkeypatch.setattr(one.answers, "messages", ask)
            assert sorted(each["message_id"] for each in await lines(one)) == sorted(f"n-{each}" for each in range(30))

    async def test_too_many_streams_are_refused(self, monkeypatch):
        monkeypatch.setattr(message_streams, "MAX_STREAMS", 0)
        async with workers(1) as [one]:
            status, body = await read(one, CSV)
            assert (status, json.loads(body)["type"]) == (503, "urn:delivery-status:problem:too-many-streams")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", None),
        ("*/*", None),
        ("application/json", None),
        ("application/json, text/csv", None),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", None),
        ("text/csv", CSV),
        ("Text/CSV; header=present", CSV),
        ("text/csv;q=0.5, application/x-ndjson", NDJSON),
        ("text/csv;q=0", None),
        ("application/x-ndjson, */*;q=0.1", NDJSON),
        ("text/csv;q=x, application/x-ndjson;q=0.2", NDJSON),
        (";,;q", None),
    ],
)
def test_the_accepted_type_decides(accept, chosen):
    assert stream_type(accept) == chosen
