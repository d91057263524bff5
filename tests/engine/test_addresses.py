"""The feed of addresses on a real broker: each report has its effect once, whatever order, repetitions and deaths."""

import asyncio
import json
import os
import sys
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from random import Random

import aiohttp
import orjson
import pytest

from processor.client import Reader
from processor.domain.addresses import NOTHING, Address, Kind, Sighting, State, condition_of, join
from processor.domain.moment import from_seconds, to_microseconds
from processor.domain.reason import Category
from processor.domain.status import Channel
from processor.engine.streams import Outgoing
from processor.providers.address_keys import AddressKeys
from processor.wire.addresses import RELEASES_KEY, decode_address
from processor.wire.topics import ADDRESSES, EVENTS, MTA

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

KEY = "a-secret-of-the-senders"
PEOPLE = 60
START = (datetime.now(timezone.utc) - timedelta(days=8)).replace(microsecond=0)


def address(person: int) -> str:
    return f"person{person}@example.com"


def life_of(person: int, chance: Random) -> list[tuple[float, str]]:
    """What is reported of a person's address, by day: deferrals, a bounce, successes, a complaint."""
    days = [chance.uniform(0, 7.5) for _ in range(chance.randint(1, 7))]
    life = [(day, chance.choice(["soft"] * 6 + ["success", "hard"])) for day in days]
    return [*life, (person % 5, "soft"), *([(3.0, "complaint")] if person % 10 == 0 else [])]


def moment(day: float) -> datetime:
    """Give a time that every provider can write: of whole seconds."""
    return (START + timedelta(days=day)).replace(microsecond=0)


def record_of(trial, person: int, number: int, day: float, kind: str) -> Outgoing:
    time = moment(day)
    if kind == "complaint":
        value = [{"email": address(person), "event": "spamreport", "timestamp": time.timestamp()}]
        return Outgoing(trial.topic(MTA), orjson.dumps(value), None, (("provider", b"sendgrid"),))
    told = {
        "success": {"status": "sent"},
        "soft": {"status": "taken_into_account", "reason": {"permanence": "transient", "category": "unreachable"}},
        "hard": {"status": "failed", "reason": {"category": "user_unknown", "code": "5.1.1"}},
    }[kind]
    message_id = f"m-{person}-{number}"
    value = {"time": time.isoformat(), "message_id": message_id, "channel": "email", "recipient": address(person)}
    return Outgoing(trial.topic(EVENTS), orjson.dumps({**value, **told}), message_id.encode())


def expected_of(life: list[tuple[float, str]]) -> Address:
    kinds = {"success": Kind.SUCCESS, "soft": Kind.SOFT, "hard": Kind.HARD, "complaint": Kind.COMPLAINT}
    known = NOTHING
    for day, kind in life:
        time = to_microseconds(moment(day))
        known = join(known, Sighting(time, kinds[kind], *_evidence(kind)))
    return known


def _evidence(kind: str) -> tuple:
    return {
        "soft": (Category.UNREACHABLE, "", "example.com"),
        "hard": (Category.USER_UNKNOWN, "5.1.1", "example.com"),
    }.get(kind, ())


async def command(trial, *arguments: str) -> bytes:
    """Run a command against the trial's brokers; give what it prints."""
    program, environment = (sys.executable, "-m", "processor", *arguments), {**os.environ, **trial.environment}
    run = await asyncio.create_subprocess_exec(*program, env=environment, stdout=asyncio.subprocess.PIPE)
    told, _ = await run.communicate()
    assert run.returncode == 0, arguments
    return told


async def published(trial) -> dict[bytes, list]:
    """Give every record of each address, in order."""
    found = defaultdict(list)
    for record in await trial.records(ADDRESSES):
        if record.key != RELEASES_KEY:
            if record.value is None:
                found.pop(record.key)
            else:
                found[record.key].append(decode_address(record.value))
    return found


@pytest.mark.parametrize("store", ["memory", "rocksdb"])
async def test_addresses_stand_as_their_reports_say_whatever_comes_first_and_dies(make_trial, tmp_path, store):
    trial = await make_trial(store=store, store_path=str(tmp_path / "store"), addresses_key=KEY)
    chance = Random(store)
    lives = {person: life_of(person, chance) for person in range(PEOPLE)}
    given = [
        record_of(trial, person, number, day, kind)
        for person, life in lives.items()
        for number, (day, kind) in enumerate(life)
    ]
    given += chance.choices(given, k=len(given) // 2)
    chance.shuffle(given)
    worker = await trial.start_worker()
    half = len(given) // 2
    await trial.publish(given[:half])
    await worker.kill()
    worker = await trial.start_worker()
    await trial.publish(given[half:])
    await trial.settled()
    assert not await trial.dead_letters()

    keys, found = AddressKeys(KEY), await published(trial)
    now = from_seconds(datetime.now(timezone.utc).timestamp())
    for person, life in lives.items():
        records = found[keys.key_of(Channel.EMAIL, address(person)).encode()]
        assert records[-1].memory == expected_of(life), (person, life)
        assert records[-1].state is condition_of(records[-1].memory, now).state
        assert all(one.memory != other.memory for one, other in pairwise(records))
    assert {State.QUARANTINED, State.DENYLISTED} <= {records[-1].state for records in found.values()}
    assert address(0).encode() not in b"".join([record.value for record in await trial.records(ADDRESSES)])

    await assert_all_ways_agree(trial, worker, {person: expected_of(life) for person, life in lives.items()})
    complainer = next(person for person, life in lives.items() if any(kind == "complaint" for _, kind in life))
    await assert_a_release_forgets(trial, complainer)


async def assert_all_ways_agree(trial, worker, expected: dict[int, Address]) -> None:
    """Ask by HTTP, by command and by the client how addresses stand."""
    now = from_seconds(datetime.now(timezone.utc).timestamp())
    quarantined = [each for each, known in expected.items() if condition_of(known, now).state is State.QUARANTINED]
    person = quarantined[0]
    async with aiohttp.ClientSession() as session:
        body = {"recipient": address(person).upper()}
        async with session.post(await worker.address() + "/api/v1/addresses/find", json=body) as response:
            assert (await response.json())["state"] == "quarantined"
    shown = json.loads(await command(trial, "addresses", "show", "--recipient", address(person), "--json"))
    assert shown["state"] == "quarantined"
    listed = await command(trial, "addresses", "list", "--state", "quarantined", "--domain", "example.com", "--json")
    assert len(listed.splitlines()) == len(quarantined)
    reader = Reader(trial.settings.brokers, prefix=trial.settings.topic_prefix)
    read = [each async for each in reader.addresses()]
    assert len(read) == len(expected)
    assert sum(each.state is State.QUARANTINED for each in read) == len(quarantined)


async def assert_a_release_forgets(trial, person: int) -> None:
    """Release a complainer by command: then the address is valid, and errors of the domain's window are gone."""
    key = AddressKeys(KEY).key_of(Channel.EMAIL, address(person)).encode()
    assert (await published(trial))[key][-1].state is State.DENYLISTED
    await command(trial, "addresses", "release", "--recipient", address(person))

    async def is_valid() -> bool:
        return (await published(trial))[key][-1].state is State.VALID

    await trial.eventually(is_valid, "the address is released")
    since = (START - timedelta(days=1)).isoformat()
    await command(trial, "addresses", "release", "--domain", "example.com", "--since", since)

    async def is_forgiven() -> bool:
        states = {records[-1].state for records in (await published(trial)).values() if records}
        return State.QUARANTINED not in states and State.WITH_ERRORS not in states

    await trial.eventually(is_forgiven, "errors of the window are gone")
