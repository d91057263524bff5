"""The commands `addresses show|list|release`: list addresses not to send to, and clear their errors."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timezone

import click
import msgspec

from processor.cli.auditing import write_down
from processor.cli.common import Failure, echo, echo_json, echo_table, json_option
from processor.cli.connection import run_async, settings_from_environment
from processor.cli.options import names_of, parse_moment
from processor.cli.unreadable import RUNBOOK, describe
from processor.domain.addresses import NOTHING, State, condition_of
from processor.domain.moment import from_seconds
from processor.domain.status import Channel
from processor.engine.admin import count_partitions
from processor.engine.records import Stored
from processor.engine.streams import Outgoing, Writer, read_to_end
from processor.printable import printable
from processor.providers.address_keys import AddressKeys
from processor.settings import Settings
from processor.wire.addresses import RELEASES_KEY, AddressRecord, known_in, record_of
from processor.wire.audit import Deed
from processor.wire.deadletters import UnusableError
from processor.wire.partitioner import partition_of
from processor.wire.readback import UnreadableError
from processor.wire.releases import RELEASE_HEADERS, ReleaseRecord, decode_release, encode_release
from processor.wire.topics import ADDRESSES, CONTROL


@click.group()
def addresses() -> None:
    """Show which addresses not to send to, and release them: the feed of docs/addresses.md."""


_recipient = click.option("--recipient", metavar="ADDRESS", help="The whole address or number, as people write it.")
_channel = click.option("--channel", type=names_of(Channel), help="With a recipient; without it, by the address.")
_domain = click.option("--domain", metavar="NAME", help="All addresses of a domain.")


@addresses.command()
@click.option("--recipient", required=True, metavar="ADDRESS", help="The whole address, as people write it.")
@_channel
@json_option
def show(recipient: str, channel: str | None, as_json: bool) -> None:
    """Show whether to send to an address, since when, and why. An address of which nothing is known is valid."""
    settings = _settings()
    key = _key_of(settings, recipient, channel)
    record = run_async(settings, lambda: _one(settings, key))
    if as_json:
        _write(record)
    else:
        _tell(recipient, record)


@addresses.command("list")
@click.option("--state", type=names_of(State), help="Only those in one condition.")
@_domain
@click.option("--all", "with_all", is_flag=True, help="Also those that are valid.")
@json_option
def list_command(state: str | None, domain: str | None, with_all: bool, as_json: bool) -> None:
    """List addresses that are not valid, by their hashes; --json writes one object a line."""
    settings = _settings()
    found: list[AddressRecord] = []
    counts: Counter[State] = Counter()

    async def main() -> None:
        for record in (await _latest(settings)).values():
            counts[record.state] += 1
            wanted = with_all or record.state is not State.VALID if state is None else record.state.value == state
            if wanted and (domain is None or record.domain == domain.casefold()):
                found.append(record)

    run_async(settings, main)
    found.sort(key=lambda record: (record.since or "", record.hash))
    if as_json:
        for record in found:
            _write(record)
        return
    echo_table(
        ("channel", "hash", "condition", "since", "until", "domain", "last reason"),
        [
            (
                record.channel.value,
                record.hash,
                record.state.value,
                record.since or "",
                record.until or "",
                printable(record.domain or ""),
                _last_reason(record),
            )
            for record in found
        ],
    )
    echo(", ".join(f"{counts[each]:,} {each.value}" for each in State))


@addresses.command()
@_recipient
@_channel
@_domain
@click.option("--since", callback=parse_moment, metavar="TIME", help="From when errors of the domain do not count.")
@click.option("--until", callback=parse_moment, metavar="TIME", help="Until when; by default, now.")
@json_option
def release(  # noqa: PLR0913, PLR0917 - one parameter for each option
    recipient: str | None,
    channel: str | None,
    domain: str | None,
    since: datetime | None,
    until: datetime | None,
    as_json: bool,
) -> None:
    """Release an address, or the errors of a domain in a window of time, such as an outage of its servers.

    A release of an address forgets all that was seen of it, objections too. That of a domain forgets errors, now and if
    they are told later; whole hours count.
    """
    settings = _settings()
    now = datetime.now(timezone.utc)
    if (recipient is None) is (domain is None):
        raise click.UsageError("give either --recipient or --domain")
    if recipient is not None:
        record = ReleaseRecord(now, address=_key_of(settings, recipient, channel))
    else:
        record = ReleaseRecord(now, domain=(domain or "").casefold(), since=since, until=until or now)
    try:
        decode_release(encode_release(record), None)
    except UnusableError as error:
        raise click.UsageError(str(error)) from None
    run_async(settings, lambda: _publish(settings, record))
    topic = settings.topic(CONTROL)
    if as_json:
        echo_json({"published": 1, "topic": topic, "key": record.key})
    else:
        echo(f"published to {topic}: workers release it in some seconds; `addresses show` and `list` tell")


def _settings() -> Settings:
    settings = settings_from_environment()
    if not settings.addresses_key:
        raise Failure("there is no feed of addresses: set DELIVERY_ADDRESSES_KEY, as it is set for the workers")
    return settings


def _key_of(settings: Settings, recipient: str, channel: str | None) -> str:
    given = Channel(channel) if channel else Channel.EMAIL if "@" in recipient else Channel.SMS
    return AddressKeys(settings.addresses_key).key_of(given, recipient)


async def _publish(settings: Settings, release: ReleaseRecord) -> None:
    topic = settings.topic(CONTROL)
    await write_down(settings, Deed.CONTROL, release.domain or release.address, "release")
    await count_partitions(settings, topic)
    async with Writer(settings) as writer:
        await writer.write(Outgoing(topic, encode_release(release), release.key.encode(), RELEASE_HEADERS))


async def _one(settings: Settings, key: str) -> AddressRecord:
    """Return how an address stands now."""
    topic = settings.topic(ADDRESSES)
    number = partition_of(key.encode(), await count_partitions(settings, topic))
    last = None
    async for record in read_to_end(settings, topic, [number]):
        if record.key == key.encode():
            last = record
    return _now(key, last)


async def _latest(settings: Settings) -> dict[bytes, AddressRecord]:
    """Return all addresses as they stand now, by key."""
    latest: dict[bytes, Stored] = {}
    async for record in read_to_end(settings, settings.topic(ADDRESSES)):
        if record.key is not None and record.key != RELEASES_KEY:
            latest[record.key] = record
    return {key: _now(key.decode(), record) for key, record in latest.items() if record.value is not None}


def _now(key: str, record: Stored | None) -> AddressRecord:
    memory = NOTHING
    if record is not None and record.value is not None:
        try:
            memory = known_in(record.value).memory
        except UnreadableError as error:
            raise Failure(f"it is there and cannot be read: {describe(record, error)}; {RUNBOOK}") from None
    return record_of(key, memory, condition_of(memory, from_seconds(time.time())))


def _write(record: AddressRecord) -> None:
    told = {name: value for name, value in msgspec.to_builtins(record).items() if name != "memory"}
    click.get_binary_stream("stdout").write(msgspec.json.encode(told) + b"\n")


def _tell(recipient: str, record: AddressRecord) -> None:
    echo(f"{printable(recipient)}: {record.state.value}")
    for name, fact in {"since": record.since, "until": record.until, "hash": record.hash}.items():
        if fact:
            echo(f"  {name:10}{fact}")
    if record.reasons:
        echo_table(
            ("reason", "category", "code", "time"),
            [
                (each.kind, each.category.value if each.category else "", printable(each.code or ""), each.time)
                for each in record.reasons
            ],
        )


def _last_reason(record: AddressRecord) -> str:
    if not record.reasons:
        return ""
    last = record.reasons[-1]
    return last.kind if last.category is None else f"{last.kind} {last.category.value}"
