"""Find the records of our own topics that cannot be read, by topic, partition, offset and key."""

from __future__ import annotations

from collections.abc import Callable

from processor.domain.row import Row
from processor.engine.records import Stored
from processor.engine.streams import read_to_end
from processor.settings import Settings
from processor.wire.addresses import RELEASES_KEY, decode_releases, known_in
from processor.wire.correlations import unpack_known
from processor.wire.counts import decode_counts_of
from processor.wire.deliveries import decode_delivery_of
from processor.wire.links import is_moved
from processor.wire.readback import UnreadableError
from processor.wire.rows import row_in
from processor.wire.topics import ADDRESSES, CORRELATIONS, COUNTS, DELIVERIES, MESSAGES, Topic

RUNBOOK = "docs/runbooks/DeliveryRowsUnreadable.md says what to do"


def describe(record: Stored, error: Exception) -> str:
    """Describe the place of one record and why it cannot be read."""
    key = "no key" if record.key is None else f"key {record.key.decode(errors='backslashreplace')!r}"
    return f"{record.topic}[{record.partition}] offset {record.offset}, {key}: {error}"


def read_row(record: Stored) -> tuple[bytes, Row] | None:
    """Read a record of the messages topic; return its row, packed and unpacked, or None if it was moved or removed.

    Raises:
        UnreadableError: it is none of ours, or a newer version wrote it.
    """
    if record.value is None or is_moved(record.value):
        return None
    row = row_in(record.value)
    try:
        (record.key or b"").decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"its key is no text: {error}") from None
    return row


def _read_delivery(record: Stored) -> None:
    if record.value is not None:
        decode_delivery_of(record.value, record.key)


def _read_counts(record: Stored) -> None:
    if record.value is not None:
        decode_counts_of(record.value, record.key)


def _read_correlation(record: Stored) -> None:
    if record.value is not None:
        unpack_known(record.value)


def _read_address(record: Stored) -> None:
    if record.value is None:
        return
    if record.key == RELEASES_KEY:
        decode_releases(record.value)
    else:
        known_in(record.value)


_READERS: tuple[tuple[Topic, Callable[[Stored], object]], ...] = (
    (MESSAGES, read_row),
    (DELIVERIES, _read_delivery),
    (COUNTS, _read_counts),
    (CORRELATIONS, _read_correlation),
    (ADDRESSES, _read_address),
)


async def unreadable_records(settings: Settings, advance: Callable[[int], object]) -> list[str]:
    """Describe the records that cannot be read, of all topics that we read back; the last one of a key counts.

    All of these topics are read, which takes some seconds a million records.

    Args:
        settings: where the topics are.
        advance: called as records are read, with their number.
    """
    found: list[str] = []
    for topic, read in _READERS:
        bad: dict[tuple[int, bytes | None], str] = {}
        async for record in read_to_end(settings, settings.topic(topic)):
            advance(1)
            at = record.partition, record.key
            try:
                read(record)
            except UnreadableError as error:
                bad[at] = describe(record, error)
            else:
                bad.pop(at, None)
        found += bad.values()
    return found
