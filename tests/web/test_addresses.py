"""Any worker tells whether to send to an address, and no log has it."""

from urllib.parse import quote

import pytest

from processor.domain.addresses import NOTHING, Address, Kind, Sighting, join
from processor.domain.moment import to_microseconds
from processor.domain.reason import Category
from processor.domain.status import Channel
from processor.providers.address_keys import AddressKeys
from processor.wire.readback import UnreadableError
from processor.wire.topics import RECIPIENTS
from tests.web.workers import NOW, workers

KEY = "a secret of senders"
PERSON, NUMBER = "ulla@example.com", "+46 70 123 45 67"


def key_of(recipient: str, channel: Channel = Channel.EMAIL) -> str:
    return AddressKeys(KEY).key_of(channel, recipient)


def bounced() -> Address:
    time = to_microseconds(NOW)
    return join(NOTHING, Sighting(time, Kind.HARD, Category.USER_UNKNOWN, "5.1.1", "example.com"))


ADDRESSES = {
    key_of(PERSON).encode(): bounced(),
    key_of(NUMBER, Channel.SMS).encode(): bounced(),
    key_of("odd@example.com").encode(): UnreadableError("a newer one wrote it"),
}


def path_of(key: str) -> str:
    return f"/api/v1/addresses/{quote(key, safe='')}"


async def test_any_worker_answers_for_any_address_however_it_is_written():
    async with workers(3, addresses=ADDRESSES, addresses_key=KEY) as three:
        for worker in three:
            for recipient in (PERSON, "Ulla@Example.com", "46701234567"):
                status, found, _ = await worker.ask(
                    "/api/v1/addresses/find", method="POST", json={"recipient": recipient}
                )
                assert (status, found["state"], found["reasons"][0]["category"]) == (200, "quarantined", "user_unknown")
            status, found, _ = await worker.ask(path_of(key_of(PERSON)))
            assert (status, found["channel"], f"email|{found['hash']}") == (200, "email", key_of(PERSON))
            assert "memory" not in found


async def test_an_address_of_which_nothing_is_known_is_valid():
    async with workers(2, addresses=ADDRESSES, addresses_key=KEY) as both:
        for worker in both:
            asked = {"recipient": PERSON, "channel": "sms"}
            status, found, _ = await worker.ask("/api/v1/addresses/find", method="POST", json=asked)
            assert (status, found["state"], found["since"], found["reasons"]) == (200, "valid", None, [])


async def test_a_stale_owner_does_not_call_an_address_valid():
    async with workers(2, addresses=ADDRESSES, addresses_key=KEY) as (one, other):
        partition = one.forwarding.partition_of(RECIPIENTS, key_of(PERSON).encode())
        owner, stale = (one, other) if partition % 2 == 0 else (other, one)
        stale.owned.addresses[partition] = type(owner.owned.addresses[partition])({})
        status, found, _ = await stale.ask(path_of(key_of(PERSON)))
        assert (status, found["state"]) == (200, "quarantined")


async def test_without_a_feed_it_says_so():
    async with workers(1) as (worker,):
        for status, problem, _ in (
            await worker.ask(path_of(key_of(PERSON))),
            await worker.ask("/api/v1/addresses/find", method="POST", json={"recipient": PERSON}),
        ):
            assert (status, problem["type"].rpartition(":")[2]) == (501, "no-feed")


@pytest.mark.parametrize("key", ["ulla@example.com", "email|abc", "fax|" + "0" * 32])
async def test_what_names_no_address_is_refused(key):
    async with workers(1, addresses_key=KEY) as (worker,):
        assert (await worker.ask(path_of(key)))[0] == 404


@pytest.mark.parametrize("body", [{}, {"recipient": ""}, {"recipient": PERSON, "channel": "fax"}, []])
async def test_a_body_that_names_nobody_is_refused(body):
    async with workers(1, addresses_key=KEY) as (worker,):
        assert (await worker.ask("/api/v1/addresses/find", method="POST", json=body))[0] == 400


async def test_an_address_that_cannot_be_read_is_none_that_is_valid():
    async with workers(2, addresses=ADDRESSES, addresses_key=KEY) as both:
        statuses = {(await worker.ask(path_of(key_of("odd@example.com"))))[0] for worker in both}
        assert statuses <= {500, 502}
