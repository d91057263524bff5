"""The condition of an address: whether messages to it arrive, and whether to send more of them.

Rules: Adobe Campaign, "Quarantine management" (campaign-classic.en, delivery-failures-quarantine.md). A hard error
quarantines at once. Five soft errors, each at least a day after the one before, within ten days do so, too; a mailbox
that was full is tried again thirty days later. A success clears what was before it. A refusal is about the sender, and
counts for nothing.

What is remembered of an address is a join: of each kind the latest, and a set of errors, of which those before the last
success or release have gone. So the order of sightings and their repetition do not matter, and the condition is a
function of the memory and of the present time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, IntEnum
from typing import Annotated, NamedTuple

import msgspec

from processor.domain.moment import Micros, Moment
from processor.domain.reason import Category, Reason
from processor.domain.status import Channel, Permanence
from processor.domain.transitions import Node

_SECOND = 1_000_000
_HOUR = 3_600 * _SECOND
_DAY = 24 * _HOUR

#: Soft errors that quarantine, the least time from one to the next, and the most from the first to the last.
SOFT_ERRORS = 5
APART = _DAY
WITHIN = 10 * _DAY

#: How long a quarantine lasts whose last error was a full mailbox.
FULL_FOR = 30 * _DAY

#: Reasons that are told of a condition: as many as prove a quarantine.
MAX_REASONS = SOFT_ERRORS

#: Errors of each kind that are remembered: the newest. Of several in one hour the last is, so of soft ones these are
#: all hours of ten days.
_MAX_ERRORS = {False: WITHIN // _HOUR + 1, True: MAX_REASONS}

#: Characters of a reason's code that are remembered.
CODE_MAX = 64

#: The version of the layout in which an `Address` is packed.
ADDRESS_LAYOUT = 1


class Kind(IntEnum):
    """What a sighting says of an address. The values are stored: never change or reuse one."""

    SUCCESS = 0
    SOFT = 1
    HARD = 2
    COMPLAINT = 3
    UNSUBSCRIBE = 4
    RELEASE = 5


#: The name of each kind on the wire.
KIND_NAMES: dict[Kind, str] = {kind: kind.name.lower() for kind in Kind}

#: What only the person can take back, or an operator.
OBJECTIONS = frozenset({Kind.COMPLAINT, Kind.UNSUBSCRIBE})


class State(str, Enum):
    """Whether to send to an address."""

    VALID = "valid"
    WITH_ERRORS = "with_errors"
    QUARANTINED = "quarantined"
    DENYLISTED = "denylisted"


class Counted(NamedTuple):
    """How an error counts: one that is permanent, and one that is tried again or was given up; None: not at all."""

    permanent: Kind | None = None
    passing: Kind | None = None


_NOT_AT_ALL = Counted()
_SOFT = Counted(Kind.SOFT, Kind.SOFT)

#: How errors count, by category: every category a row.
COUNTED: dict[Category, Counted] = {
    # What nobody has qualified may be anything.
    Category.UNDEFINED: _NOT_AT_ALL,
    Category.USER_UNKNOWN: Counted(Kind.HARD, Kind.SOFT),
    Category.ACCOUNT_DISABLED: Counted(Kind.HARD, Kind.SOFT),
    # These are about the way to the address, which may be mended, whatever a provider makes of it.
    Category.INVALID_DOMAIN: _SOFT,
    Category.UNREACHABLE: _SOFT,
    Category.MAILBOX_FULL: _SOFT,
    # A telephone that is switched off is still somebody's.
    Category.NOT_CONNECTED: _NOT_AT_ALL,
    # The sender's fault.
    Category.REFUSED: _NOT_AT_ALL,
    Category.PERSONALIZATION: _NOT_AT_ALL,
    # The sender's own decision, perhaps because of this very condition.
    Category.ADDRESS_NOT_SPECIFIED: _NOT_AT_ALL,
    Category.DENYLISTED: _NOT_AT_ALL,
    Category.QUARANTINED: _NOT_AT_ALL,
    Category.DUPLICATE: _NOT_AT_ALL,
    Category.EXCLUDED_BY_RULE: _NOT_AT_ALL,
    Category.EXCLUDED_BY_ARBITRATION: _NOT_AT_ALL,
    Category.BAD_QUALITY_ADDRESS: _NOT_AT_ALL,
    Category.UNQUALIFIED_ADDRESS: _NOT_AT_ALL,
    Category.NOT_ELIGIBLE: _NOT_AT_ALL,
    Category.TARGET_LIMITED: _NOT_AT_ALL,
    Category.ERROR_IGNORED: _NOT_AT_ALL,
    Category.CONTROL_ADDRESS: _NOT_AT_ALL,
}

#: The node at which a message has reached its address, by channel.
REACHED: dict[Channel, Node] = {Channel.EMAIL: Node.SENT, Channel.SMS: Node.RECEIVED_ON_MOBILE}


#: The least of them: a report of a lower node says nothing of its address, unless it has a reason.
LEAST_REACHED = min(REACHED.values())


#: What runs for every event asks no enumeration for its members, which takes a third of a microsecond each.
_EMAIL, _SENT, _RECEIVED, _SUCCESS = Channel.EMAIL, Node.SENT, Node.RECEIVED_ON_MOBILE, Kind.SUCCESS


def kind_of_report(channel: Channel, node: Node, reason: Reason | None) -> Kind | None:
    """Return what a report says of its message's address; None: nothing."""
    if node is _RECEIVED or (node is _SENT and channel is _EMAIL):
        return _SUCCESS
    if reason is None or reason.category is None:
        return None
    if node is Node.FAILED:
        return COUNTED[reason.category].permanent
    if node is Node.FAILED_GAVE_UP or reason.permanence is Permanence.TRANSIENT:
        return COUNTED[reason.category].passing
    return None


class Error(msgspec.Struct, array_like=True, frozen=True, gc=False, order=True):
    """An error that counts."""

    #: The event's time, in microseconds.
    time: Moment
    is_hard: bool
    category: Category
    code: Annotated[str, msgspec.Meta(max_length=CODE_MAX)] = ""


class Objection(msgspec.Struct, array_like=True, frozen=True, gc=False, order=True):
    """A complaint, or the wish to get no more."""

    time: Moment
    kind: Kind


class Window(msgspec.Struct, array_like=True, frozen=True, gc=False, order=True):
    """A domain, and whole hours in which its errors were no fault of its addresses."""

    domain: str
    since: Moment
    #: The first microsecond after it.
    until: Moment

    def covers(self, time: Micros) -> bool:
        """Return whether a time lies in it."""
        return self.since <= time < self.until


def window_of(domain: str, since: Micros, until: Micros) -> Window:
    """Return the whole hours around a time window, since of each hour only the last error is remembered."""
    return Window(domain, Micros(since // _HOUR * _HOUR), Micros(-(-until // _HOUR) * _HOUR))


class Address(msgspec.Struct, array_like=True, tag=ADDRESS_LAYOUT, frozen=True, gc=False):
    """What is remembered of an address. Immutable: a changed one is a new one."""

    #: The last success, and up to when an operator has released it; in microseconds.
    success: Moment | None = None
    released: Moment | None = None
    #: The last one that came after the release.
    objection: Objection | None = None
    #: In order. None is before the success, nor before or at the release.
    errors: tuple[Error, ...] = ()
    #: The domain of a mail address, as long as there are errors.
    domain: str | None = None


class Sighting(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one report says of an address."""

    time: Moment
    kind: Kind
    category: Category | None = None
    code: str = ""
    domain: str | None = None


NOTHING = Address()


def join(address: Address, sighting: Sighting, windows: Sequence[Window] = ()) -> Address:
    """Join a sighting; return the same object if it tells nothing new.

    Args:
        address: what is remembered.
        sighting: one more.
        windows: of the sighting's domain, in which errors do not count.
    """
    if sighting.kind is Kind.SUCCESS:
        return _succeed(address, sighting.time)
    if address.released is not None and sighting.time <= address.released:
        return address
    if sighting.kind is Kind.RELEASE:
        return _cleared(address, success=address.success, released=sighting.time)
    if sighting.kind in OBJECTIONS:
        return _object(address, Objection(sighting.time, sighting.kind))
    return _fail(address, sighting, windows)


def _succeed(address: Address, time: Micros) -> Address:
    if address.success is not None and time <= address.success:
        return address
    return _cleared(address, success=time, released=address.released)


def _object(address: Address, objection: Objection) -> Address:
    if address.objection is not None and objection <= address.objection:
        return address
    return msgspec.structs.replace(address, objection=objection)


def _fail(address: Address, sighting: Sighting, windows: Sequence[Window]) -> Address:
    time = sighting.time
    if address.success is not None and time < address.success:
        return address
    if any(window.covers(time) for window in windows):
        return address
    category = Category.UNDEFINED if sighting.category is None else sighting.category
    errors = _joined(address.errors, Error(time, sighting.kind is Kind.HARD, category, sighting.code[:CODE_MAX]))
    if errors == address.errors:
        return address
    return msgspec.structs.replace(address, errors=errors, domain=sighting.domain)


def _cleared(address: Address, *, success: Micros | None, released: Micros | None) -> Address:
    """Return an address without what a success or a release has overtaken."""
    objection = address.objection
    if objection is not None and released is not None and objection.time <= released:
        objection = None
    errors = tuple(
        error
        for error in address.errors
        if not (success is not None and error.time < success) and not (released is not None and error.time <= released)
    )
    return Address(success, released, objection, errors, address.domain if errors else None)


def _joined(errors: tuple[Error, ...], error: Error) -> tuple[Error, ...]:
    """Add an error; of one kind and hour the last stays, and of all the newest."""
    latest: dict[tuple[bool, int], Error] = {}
    for each in sorted((*errors, error)):
        latest[each.is_hard, each.time // _HOUR] = each
    kept: list[Error] = []
    for is_hard, most in _MAX_ERRORS.items():
        kept += sorted(each for each in latest.values() if each.is_hard is is_hard)[-most:]
    return tuple(sorted(kept))


def without(address: Address, window: Window) -> Address:
    """Remove the errors of a window that is released; return the same object if there are none."""
    if address.domain != window.domain:
        return address
    errors = tuple(error for error in address.errors if not window.covers(error.time))
    if errors == address.errors:
        return address
    return msgspec.structs.replace(address, errors=errors, domain=address.domain if errors else None)


class Condition(NamedTuple):
    """Whether to send to an address, since when and until when, and why: times in microseconds."""

    state: State
    since: Micros | None = None
    #: When it ends by itself; None: it does not.
    until: Micros | None = None
    #: The errors, or the objection, that it follows from, in order of time: at most MAX_REASONS.
    reasons: tuple[Error | Objection, ...] = ()


def condition_of(address: Address, now: Micros) -> Condition:
    """Return the condition of an address at a time."""
    if address.objection is not None:
        return Condition(State.DENYLISTED, address.objection.time, None, (address.objection,))
    hard = [error for error in address.errors if error.is_hard]
    if hard:
        return Condition(State.QUARANTINED, hard[0].time, None, tuple(hard[-MAX_REASONS:]))
    soft = _soft_condition([error for error in address.errors if not error.is_hard])
    if soft.until is not None and soft.until <= now:
        return Condition(State.VALID, soft.until)
    if soft.since is None:
        cleared = [time for time in (address.success, address.released) if time is not None]
        return Condition(State.VALID, max(cleared, default=None))
    return soft


def _soft_condition(errors: Sequence[Error]) -> Condition:
    """Return what soft errors, in order of time, come to: the condition that the last of them left."""
    run: list[Error] = []
    quarantine: Condition | None = None
    for error in errors:
        if quarantine is not None and quarantine.until is not None and error.time >= quarantine.until:
            # It was tried again in the meantime, and the count began anew.
            run, quarantine = [], None
        run.append(error)
        if quarantine is None:
            proof = _proof(run)
            if proof:
                quarantine = Condition(State.QUARANTINED, error.time, None, proof)
        if quarantine is not None:
            ends = Micros(error.time + FULL_FOR) if error.category is Category.MAILBOX_FULL else None
            quarantine = quarantine._replace(until=ends)
    if quarantine is not None:
        return quarantine
    if not run:
        return Condition(State.VALID)
    recent = [error for error in run if error.time > run[-1].time - WITHIN]
    return Condition(State.WITH_ERRORS, recent[0].time, Micros(run[-1].time + WITHIN), tuple(recent[-MAX_REASONS:]))


def _proof(run: Sequence[Error]) -> tuple[Error, ...]:
    """Return the errors that quarantine, of which the last is the last of the run; nothing if there are none."""
    found = [run[-1]]
    for error in reversed(run[:-1]):
        if error.time < run[-1].time - WITHIN:
            break
        if error.time <= found[-1].time - APART:
            found.append(error)
            if len(found) == SOFT_ERRORS:
                return tuple(reversed(found))
    return ()


def may_be_forgotten(address: Address, now: Micros, before: Micros) -> bool:
    """Return whether an address is valid, and all that is remembered of it is before a time."""
    if condition_of(address, now).state is not State.VALID:
        return False
    times: Iterable[Micros | None] = (address.success, address.released, *(error.time for error in address.errors))
    return all(time is None or time < before for time in times)
