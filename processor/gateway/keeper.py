"""Keep what a verified call says, before it is answered: in Kafka, or on disk until Kafka takes it.

While Kafka is well, a call waits for it. Once it has not answered one in time, or nothing at all for a second, it
counts as away: those who wait go to disk, and later calls do at once. What is on disk is offered to Kafka all the
while, in the order in which it came, and as soon as Kafka takes something, calls go to it again beside. Whatever goes
wrong gives a record twice rather than never.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from enum import Enum

from processor.domain.moment import Millis
from processor.engine.outlet import Outlet, OutletError
from processor.engine.streams import Outgoing
from processor.gateway.shared_spool import SharedSpool
from processor.gateway.spool import Spooled, SpoolError
from processor.logs import get_logger
from processor.wire.received import window

log = get_logger(__name__)

#: Seconds after which Kafka is away if it has answered nothing, while calls wait; and between two looks.
_SILENCE_SECONDS = 1.0
_LOOK_SECONDS = 0.1

#: Seconds after which a call asks Kafka again, where nothing is on disk that would.
_ASK_SECONDS = 1.0

#: Records that are read from disk at once, at most, and for how many seconds at the rate.
_PORTION = 500
_PORTION_OF_SECOND = 0.1

#: Seconds that Kafka has for a portion before the connection is made anew; between attempts, and between those of what
#: Kafka refuses, at most.
_PORTION_SECONDS = 60.0
_RETRY_SECONDS = 1.0
_PATIENCE_SECONDS = 30.0


class Kept(Enum):
    """Where a call's records are."""

    TAKEN = "taken"
    SPOOLED = "spooled"


class Keeper:
    """Keeps records.

    Args:
        outlet: which runs.
        spool: which may have records of an earlier process.
        rate: records in a second that are taken from disk to Kafka.
    """

    def __init__(self, outlet: Outlet, spool: SharedSpool, rate: float) -> None:
        self._outlet, self._spool, self._rate = outlet, spool, rate
        self._portion = max(1, min(_PORTION, int(rate * _PORTION_OF_SECOND)))
        #: Records that were refused, one after the other.
        self._refused = 0
        #: Those who wait for Kafka, each with since when; and when it has answered last.
        self._waiting: dict[asyncio.Future[None], float] = {}
        self._answered = 0.0
        self._is_away = False
        self._away_since = 0.0
        self._ask_at = 0.0
        self._has_spooled = asyncio.Event()
        #: Why nothing can be kept on disk; empty while it can.
        self.problem = ""

    async def open(self) -> None:
        """Open the spool.

        Raises:
            SpoolError: it cannot be, or another process has it.
        """
        await self._spool.open()
        if self._spool.spool.records:
            self._has_spooled.set()

    async def close(self) -> None:
        """Close the spool; what is in it stays."""
        await self._spool.close()

    async def keep(self, records: Sequence[Outgoing], seconds: float) -> Kept:
        """Keep the records of one call; when this returns, they are safe.

        Args:
            records: one at least.
            seconds: that Kafka has, unless it is known to be away.

        Raises:
            SpoolError: they are not safe, and the call is to come again.
        """
        if self._asks() and await self._is_taken(records, seconds):
            return Kept.TAKEN
        try:
            await self._spool.append([_spooled(record) for record in records])
        except SpoolError as error:
            self._see_spool(str(error))
            raise
        self._see_spool("")
        self._has_spooled.set()
        return Kept.SPOOLED

    def _asks(self) -> bool:
        """Return whether a call asks Kafka: while it is away, one in a while does, unless the spool does so."""
        if self._outlet.problem:
            return False
        if not self._is_away:
            return True
        now = time.monotonic()
        if (self._has_spooled.is_set() and not self.problem) or now < self._ask_at:
            return False
        self._ask_at = now + _ASK_SECONDS
        return True

    async def _is_taken(self, records: Sequence[Outgoing], seconds: float) -> bool:
        try:
            is_in_time = await self._offer(records, seconds)
        except OutletError as error:
            if not error.is_of_record:
                self._see_away(str(error))
            return False
        except Exception:
            # Whatever it is, the disk is still there: the call must not be lost by a fault of ours.
            log.exception("kafka_away", reason="a fault of the gateway's")
            return False
        if is_in_time:
            self._is_away = False
        else:
            self._see_away(f"no answer within {seconds:g} s")
        return is_in_time

    async def _offer(self, records: Sequence[Outgoing], seconds: float) -> bool:
        taken = self._outlet.offer(records)
        self._waiting[taken] = time.monotonic()
        try:
            is_in_time = await _in_time(taken, seconds)
        finally:
            del self._waiting[taken]
        if is_in_time:
            self._answered = time.monotonic()
        return is_in_time

    async def watch(self) -> None:
        """Look whether Kafka answers those who wait, so that many do not wait at a time; until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            oldest = next(iter(self._waiting.values()), None)
            if oldest is None or time.monotonic() - max(oldest, self._answered) < _SILENCE_SECONDS:
                continue
            self._see_away(f"it has answered nothing for {_SILENCE_SECONDS:g} s")
            for taken in self._waiting:
                if not taken.done():
                    taken.set_exception(OutletError("Kafka answers nothing"))

    def _see_away(self, reason: str) -> None:
        now = time.monotonic()
        self._ask_at = now + _ASK_SECONDS
        if not self._is_away:
            log.warning("kafka_away", reason=reason)
            self._is_away, self._away_since = True, now
        elif now - self._away_since > _PORTION_SECONDS:
            # It may be the connection that does not come back.
            self._away_since = now
            self._outlet.renew()

    def _see_spool(self, problem: str) -> None:
        if problem:
            log.error("spool_failed", error=problem)
        self.problem = problem

    # Replay

    async def replay(self) -> None:
        """Take what is on disk to Kafka, in its order, whenever there is something; until it is cancelled."""
        size = self._portion
        while True:
            await self._has_spooled.wait()
            try:
                size = await self._replay_portion(size)
            except SpoolError as error:
                self._see_spool(str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _replay_portion(self, size: int) -> int:
        """Take some records to Kafka; return how many to take next."""
        if self._outlet.problem:
            await asyncio.sleep(_RETRY_SECONDS)
            return size
        portion = await self._spool.oldest(size)
        self._see_spool("")
        if not portion:
            self._has_spooled.clear()
            if self._spool.spool.records:
                # Another call has come meanwhile.
                self._has_spooled.set()
            return self._portion
        refusal = await self._refusal([record for _, record in portion])
        if refusal is None:
            self._is_away, self._refused = False, 0
            await self._spool.remove(portion[-1][0])
            await asyncio.sleep(len(portion) / self._rate)
            return min(2 * size, self._portion)
        if refusal.is_of_record and len(portion) == 1:
            await self._put_last(*portion[0], refusal)
            self._refused += 1
        await asyncio.sleep(min(max(1, self._refused) * _RETRY_SECONDS, _PATIENCE_SECONDS))
        return 1 if refusal.is_of_record else size

    async def _refusal(self, spooled: Sequence[Spooled]) -> OutletError | None:
        """Offer records to Kafka; return why it has not taken them, or None."""
        first, _ = window(Millis(time.time_ns() // 1_000_000))
        offered = self._outlet.offer([_outgoing(record, first) for record in spooled])
        try:
            if await _in_time(offered, _PORTION_SECONDS):
                return None
        except OutletError as error:
            return error
        self._outlet.renew()
        return OutletError(f"no answer within {_PORTION_SECONDS:g} s")

    async def _put_last(self, place: int, record: Spooled, refusal: OutletError) -> None:
        """Put a record behind all others that Kafka refuses for what it is: they need not wait for it."""
        log.error("record_refused", topic=record.topic, reason=str(refusal), octets=len(record.value))
        await self._spool.put_last(place)


async def _in_time(taken: asyncio.Future[None], seconds: float) -> bool:
    """Wait for something to be done; cancel it when it takes longer."""
    is_late = False

    def give_up() -> None:
        nonlocal is_late
        is_late = True
        taken.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, give_up)
    try:
        await taken
    except asyncio.CancelledError:
        if not is_late:
            raise
        return False
    finally:
        timer.cancel()
    return True


def _spooled(record: Outgoing) -> Spooled:
    headers = tuple((name, value or b"") for name, value in record.headers)
    return Spooled(record.topic, record.value or b"", record.key, headers, record.timestamp or 0)


def _outgoing(record: Spooled, first: Millis) -> Outgoing:
    """Make a record of one that was kept on disk; its timestamp is that of its arrival, if that is not long ago.

    Kafka removes records by their timestamp. The header `received` tells in any case when it came.
    """
    timestamp = Millis(record.received) if record.received >= first else None
    return Outgoing(record.topic, record.value, record.key, record.headers, timestamp)
