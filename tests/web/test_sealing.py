"""Ids that may not be shown are sealed in links, and lead to their messages all the same."""

import json
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor.settings import Settings
from processor.web.sealing import PREFIX, Seal, SealError
from tests.web.workers import ODD_ID, READ_TOKEN, SETTINGS, WRITE_TOKEN, workers

SEAL = Seal(Settings(internal_token="a-token-among-workers"))


class TestSeal:
    @given(st.text(max_size=1_000).filter(lambda text: text.isprintable() or text.isascii()))
    def test_what_it_closes_it_opens(self, message_id):
        assert SEAL.open(SEAL.close(message_id)) == message_id

    def test_it_needs_no_escaping_and_hides_the_id(self):
        sealed = SEAL.close("twilio:SM1:+46701234512")
        assert quote(sealed, safe="") == sealed
        assert sealed.startswith(PREFIX)
        assert "4670" not in sealed

    def test_one_id_has_one_seal_on_every_worker(self):
        other = Seal(Settings(internal_token="a-token-among-workers", http_port=9090))
        assert other.close(ODD_ID) == SEAL.close(ODD_ID)

    def test_the_write_token_serves_where_there_is_no_other(self):
        assert Seal(Settings(write_token=WRITE_TOKEN)).open(Seal(Settings(write_token=WRITE_TOKEN)).close("m")) == "m"

    @pytest.mark.parametrize(
        "settings",
        [
            Settings(internal_token="another-token-of-workers"),
            Settings(internal_token="a-token-among-workers", app_id="another"),
            # A reader could make the same key of the read token.
            Settings(read_token="a-token-among-workers"),
            Settings(),
        ],
    )
    def test_another_installation_has_another_key(self, settings):
        with pytest.raises(SealError):
            SEAL.open(Seal(settings).close("m-1"))

    def test_without_a_token_each_worker_has_a_key_of_its_own(self):
        one, other = Seal(Settings()), Seal(Settings())
        assert one.open(one.close("m-1")) == "m-1"
        with pytest.raises(SealError):
            other.open(one.close("m-1"))

    @given(st.integers(0, 60), st.characters())
    @example(23, "/")
    def test_what_was_changed_does_not_open(self, place, char):
        sealed = SEAL.close("twilio:SM1:+46701234512")
        place = len(PREFIX) + place % (len(sealed) - len(PREFIX))
        changed = sealed[:place] + char + sealed[place + 1 :]
        try:
            # The last character has bits that say nothing.
            assert SEAL.open(changed) == "twilio:SM1:+46701234512"
            assert changed == sealed or place == len(sealed) - 1
        except SealError:
            assert changed != sealed

    @given(st.text())
    def test_anything_else_is_an_id(self, given_id):
        try:
            assert SEAL.open(given_id) == given_id
        except SealError:
            assert given_id.startswith(PREFIX)


async def sealed_of(worker) -> str:
    """Give what a list names the message by whose id quotes a recipient."""
    _, stuck, _ = await worker.ask("/api/v1/stuck")
    [found] = [found for at in stuck["items"] for found in at["sample"] if "u***" in found["message_id"]]
    return found["reference"]


class TestLinks:
    async def test_what_a_list_names_a_message_by_leads_to_it_on_any_worker(self):
        async with workers(3) as made:
            reference = await sealed_of(made[0])
            assert reference.startswith(PREFIX)
            for worker in made:
                status, body, _ = await worker.ask(f"/api/v1/messages/{reference}")
                assert (status, body["status"], body["delivery_id"]) == (200, "pending", "DM/3 ü")
                assert "ulla@" not in json.dumps(body)
                assert body["message_id"].endswith(":u***@example.com")

    async def test_who_may_see_it_is_led_there_too(self):
        async with workers() as [worker]:
            reference = await sealed_of(worker)
            _, body, _ = await worker.ask(f"/api/v1/messages/{reference}", WRITE_TOKEN)
            assert body["message_id"] == ODD_ID
            _, stuck, _ = await worker.ask("/api/v1/stuck", WRITE_TOKEN)
            assert ODD_ID in [found["reference"] for at in stuck["items"] for found in at["sample"]]

    async def test_an_id_that_may_be_shown_is_its_own_reference(self):
        async with workers() as [worker]:
            _, body, _ = await worker.ask("/api/v1/contradictions")
            assert body["items"][0]["sample"][0]["reference"] == "m-2"

    @pytest.mark.parametrize("name", [SEAL.close("x"), PREFIX, PREFIX + "%00", PREFIX + "x" * 5_000])
    async def test_a_wrong_seal_is_not_found_and_says_why(self, name):
        async with workers(2, settings=Settings(http_port=0, write_token=WRITE_TOKEN)) as made:
            for worker in made:
                status, body, _ = await worker.ask(f"/api/v1/messages/{name}")
                assert (status, body["type"].rpartition(":")[2]) == (404, "message-not-known")
                assert "the token that seals ids is another" in body["detail"]

    async def test_that_a_sealed_one_is_not_known_does_not_tell_its_id(self):
        sealed = Seal(SETTINGS).close("ses:1:nobody@example.com")
        async with workers(3) as made:
            for worker in made:
                status, body, _ = await worker.ask(f"/api/v1/messages/{sealed}")
                assert status == 404
                assert "nobody" not in json.dumps(body)


class TestPage:
    @pytest.fixture
    async def get(self):
        async with workers(read_token=READ_TOKEN) as [worker]:

            def get(path: str):
                url = aiohttp.client.URL(worker.url + path, encoded=True)
                reader = {"Authorization": f"Bearer {READ_TOKEN}"}
                return worker.session.get(url, headers=reader, allow_redirects=False)

            yield get

    async def test_a_reader_is_led_by_sealed_links_and_sees_masks(self, get):
        async with get("/") as answer:
            overview = await answer.text()
        assert "ulla" not in overview
        reference = PREFIX + overview.partition(f"/messages/{PREFIX}")[2].partition('"')[0]
        async with get(f"/messages/{reference}") as answer:
            assert answer.status == 200
            text = await answer.text()
        assert "ulla" not in text
        assert "u***@example.com" in text

    async def test_a_search_leads_on_without_naming_the_recipient(self, get):
        async with get(f"/find?q={quote(ODD_ID, safe='')}") as answer:
            assert answer.headers["Location"].startswith(f"/messages/{PREFIX}")

    async def test_a_wrong_link_says_why(self, get):
        async with get(f"/messages/{PREFIX}x") as answer:
            assert answer.status == 404
            assert "the token that seals ids is another" in await answer.text()
