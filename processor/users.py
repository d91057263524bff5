"""Users and roles: what a role may do, and what the file of users says. Pure."""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

#: Characters that a name may have; and users and bytes that a file may have.
NAME_MAX = 100
USERS_MAX = 1_000
FILE_MAX_BYTES = 1024 * 1024

#: Stands for all groups where groups are given roles.
ANY_GROUP = "*"

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_KEYS = ("name", "role", "token_sha256")
_HASH_OF_NOTHING = sha256().digest()


class Role(str, Enum):
    """What a user may do. Each role includes those before it."""

    #: Read, with recipients masked.
    READER = "reader"
    #: Read recipients and texts whole.
    UNMASKED_READER = "unmasked_reader"
    #: Write, and read the audit.
    OPERATOR = "operator"

    def includes(self, other: Role) -> bool:
        """Return whether this role may do what another may."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER = tuple(Role)


class User(NamedTuple):
    """Somebody with a role."""

    name: str
    role: Role


class Credential(NamedTuple):
    """A user, and the SHA-256 of the user's token."""

    user: User
    digest: bytes


class UsersError(Exception):
    """The file of users is wrong. `faults` names each, with its place."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a user: printable, without spaces, so unlike what we call tokens."""
    return 0 < len(text) <= NAME_MAX and text.isprintable() and " " not in text


def digest_of(token: str) -> bytes:
    """Return the SHA-256 of a token."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def owner_of(token: str, credentials: Iterable[Credential]) -> Credential | None:
    """Return the credential whose token this is; None: it is nobody's. Digests are compared in constant time."""
    given = digest_of(token)
    # All are compared: the time tells not even whose it is.
    found = [each for each in credentials if hmac.compare_digest(given, each.digest)]
    return found[0] if found else None


def forwarded_name(values: Sequence[str]) -> str | None:
    """Return the name that a proxy's header says; None: it says none, or several: the client may have sent one."""
    return values[0] if len(values) == 1 and is_name(values[0]) else None


def forwarded_role(values: Iterable[str], roles: Mapping[str, Role]) -> Role | None:
    """Return the highest of the roles that somebody's groups have; None: they have none.

    Args:
        values: of the proxy's header, each with groups separated by commas.
        roles: by group; ANY_GROUP is that of everybody, also of who is in none.
    """
    groups = [group.strip() for value in values for group in value.split(",")]
    found = {roles[group] for group in (ANY_GROUP, *groups) if group in roles}
    return next((role for role in reversed(_ORDER) if role in found), None)


def read_users(content: bytes) -> tuple[Credential, ...]:
    """Read the file of users.

    Raises:
        UsersError: with every fault at once. None of them shows a hash: it may be a token that was put in its place.
    """
    entries = _entries(content)
    faults = [f"users[{number}]: {fault}" for number, entry in enumerate(entries) for fault in _faults_of(entry)]
    faults += _repeated(entries)
    if faults:
        raise UsersError(faults)
    return tuple(
        [Credential(User(each["name"], Role(each["role"])), bytes.fromhex(each["token_sha256"])) for each in entries]
    )


def _entries(content: bytes) -> list[Any]:
    if len(content) > FILE_MAX_BYTES:
        raise UsersError([f"it is larger than {FILE_MAX_BYTES} bytes"])
    try:
        table = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsersError([f"it is not JSON: {error}"]) from None
    if not isinstance(table, dict) or set(table) != {"users"} or not isinstance(table["users"], list):
        raise UsersError(['it is not {"users": [...]}'])
    entries: list[Any] = table["users"]
    if len(entries) > USERS_MAX:
        raise UsersError([f"it has more than {USERS_MAX} users"])
    return entries


def _faults_of(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "it is not {" + ", ".join(f'"{key}": ...' for key in _KEYS) + "}"
        return
    yield from [f"{key[:40]!r} is none of {', '.join(_KEYS)}" for key in entry if key not in _KEYS]
    name, role, digest = map(entry.get, _KEYS)
    if not (isinstance(name, str) and is_name(name)):
        yield f"name must be 1 to {NAME_MAX} printable characters without spaces"
    if role not in [each.value for each in Role]:
        yield f"role must be one of {', '.join(each.value for each in Role)}"
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        yield "token_sha256 must be 64 hexadecimal digits: `printf %s TOKEN | sha256sum`"
    elif bytes.fromhex(digest) == _HASH_OF_NOTHING:
        yield "token_sha256 is the hash of an empty text"


def _repeated(entries: Iterable[Any]) -> Iterator[str]:
    """Yield a fault for each name, and for each token, of several users."""
    tables = [entry for entry in entries if isinstance(entry, dict)]
    names = Counter(each["name"] for each in tables if isinstance(each.get("name"), str))
    yield from [f"{name[:NAME_MAX]!r} is there {times} times" for name, times in names.items() if times > 1]
    digests = [each["token_sha256"].lower() for each in tables if isinstance(each.get("token_sha256"), str)]
    if len(set(digests)) < len(digests):
        yield "two users have the same token_sha256"
