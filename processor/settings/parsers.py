"""Parsers of settings: each reads the text of a variable, or raises a ValueError that says what it must be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar

from processor.domain.status import Channel, Status
from processor.domain.traits import STUCK_AFTER
from processor.users import Role, UsersError, read_users

Number = TypeVar("Number", int, float)

#: Notations of ids: of submit_sm_resp, and of receipts.
ID_NOTATIONS = ("decimal/hex", "hex/decimal")
INDEXES = ("delivery", "recipient", "provider_message_id")


def text(value: str) -> str:
    """Read a text that is not empty."""
    if not value:
        raise ValueError("must not be empty")
    return value


def topic_prefix(value: str) -> str:
    """Read the beginning of the names of topics."""
    # 200 leaves room for the rest of a name, of which Kafka takes 249 characters.
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", value):
        raise ValueError("must be letters, digits, '.', '_' and '-', at most 200")
    return value


def commit(value: str) -> str:
    """Read the name of a commit."""
    if not re.fullmatch(r"[\w.-]{1,64}", value, re.ASCII):
        raise ValueError("must have 1 to 64 letters, digits, dots, hyphens or underscores: `git rev-parse HEAD`")
    return value


def optional_text(value: str) -> str:
    """Read any text."""
    return value


def origin(value: str) -> str:
    """Read scheme, host and port of a server."""
    if not re.fullmatch(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", value):
        raise ValueError("must be like 'http://10.0.0.5:8080'")
    return value.rstrip("/")


def link(value: str) -> str:
    """Read what a link of the page leads to."""
    # It becomes a link of the page.
    if not re.fullmatch(r"(https?:/)?/[^\s/\\\"'<>][^\s\\\"'<>]*", value):
        raise ValueError("must be a path like '/oauth2/sign_out', or a URL")
    return value


def origins(value: str) -> tuple[str, ...]:
    """Read servers, separated by commas."""
    try:
        return tuple(map(origin, names(value)))
    except ValueError:
        raise ValueError("must be like 'http://gateway-1:8082,http://gateway-2:8082'") from None


def token(value: str) -> str:
    """Read a token."""
    # What an Authorization header carries as it is; shorter ones are guessed.
    if not re.fullmatch(r"[!-~]{16,500}", value):
        raise ValueError("must be 16 to 500 characters of ASCII without spaces")
    return value


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return the parser of a whole number."""
    return _bounded(int, low, high, f"must be a whole number from {low} to {high}")


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Return the parser of a number of seconds."""
    return _bounded(float, low, high, f"must be seconds, from {low:g} to {high:g}")


def _bounded(read: Callable[[str], Number], low: Number, high: Number, problem: str) -> Callable[[str], Number]:
    def parse(value: str) -> Number:
        try:
            number = read(value)
        except ValueError:
            raise ValueError(problem) from None
        if not low <= number <= high:
            raise ValueError(problem)
        return number

    return parse


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration(value: str) -> float:
    """Read a number with its unit, in seconds."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", value)
    if not found:
        raise ValueError("must be a whole number with s, m, h or d, like '30d'")
    return float(found[1]) * _UNITS[found[2] or "s"]


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return the parser of one of some words."""

    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return parse


def yes_no(value: str) -> bool:
    """Read a yes or a no."""
    answers = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.lower() not in answers:
        raise ValueError("must be true or false")
    return answers[value.lower()]


def file(value: str) -> Path:
    """Read the path of a file that can be read."""
    path = Path(value)
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise ValueError("must be a file that can be read")
    return path


def users_file(value: str) -> Path:
    """Read the path of a file of users."""
    path = file(value)
    try:
        read_users(path.read_bytes())
    except UsersError as error:
        raise ValueError(f"it is no file of users: {error}") from None
    return path


def user_roles(value: str) -> Mapping[str, Role]:
    """Read the role of each group."""
    roles: dict[str, Role] = {}
    for pair in value.split(","):
        group, _, role = (part.strip() for part in pair.rpartition("="))
        if not group or role not in [each.value for each in Role]:
            raise ValueError(
                f"must be like 'support=reader,leads=operator', with one of {', '.join(each.value for each in Role)}"
            )
        if group in roles:
            raise ValueError(f"names group {group!r} twice")
        roles[group] = Role(role)
    return roles


def names(value: str) -> tuple[str, ...]:
    """Read names, separated by commas."""
    found = tuple(name.strip() for name in value.split(",") if name.strip())
    if not found:
        raise ValueError("must be names separated by commas")
    return found


def indexes(value: str) -> tuple[str, ...]:
    """Read what is indexed."""
    chosen = names(value)
    if chosen == ("none",):
        return ()
    if not set(chosen) <= set(INDEXES):
        raise ValueError(f"must be some of {', '.join(INDEXES)}, separated by commas, or 'none'")
    return tuple(name for name in INDEXES if name in chosen)


def hosts(value: str) -> tuple[str, ...]:
    """Read names of hosts."""
    found = names(value)
    if not all(re.fullmatch(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", host) for host in found):
        raise ValueError("must be names like 'status.example.com', '.example.com' for all that end so, or '*' for any")
    return found


def networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read addresses and networks."""
    try:
        return tuple(ip_network(name) for name in names(value))
    except ValueError:
        raise ValueError("must be addresses or networks like '10.0.0.7' or '10.0.0.0/8'") from None


def pairs(value: str) -> Mapping[str, str]:
    """Read the provider of each topic."""
    found: dict[str, str] = {}
    for pair in value.split(","):
        topic, equals, provider = pair.partition("=")
        if not (equals and topic.strip() and provider.strip()):
            raise ValueError("must be like 'delivery.mta.v1=kumomta,delivery.sms.v1=twilio'")
        found[topic.strip()] = provider.strip()
    return found


def notations(value: str) -> Mapping[str, str]:
    """Read the notations of ids of each account."""
    found: dict[str, str] = {}
    for pair in value.split(","):
        account, _, notation = (part.strip() for part in pair.rpartition("="))
        if notation not in ID_NOTATIONS:
            raise ValueError(f"must be like 'north=decimal/hex', with one of {', '.join(ID_NOTATIONS)}")
        if account in found:
            raise ValueError(f"names account {account!r} twice")
        found[account] = notation
    return found


def stuck_after(value: str) -> Mapping[tuple[Channel, Status], float]:
    """Read thresholds; those that are not named stay as they are by default."""
    places = {f"{channel.value}.{status.value}": (channel, status) for channel, status in STUCK_AFTER}
    thresholds, given, wrong = dict(STUCK_AFTER), set(), []
    for pair in value.split(","):
        name, _, after = (part.strip() for part in pair.partition("="))
        if name not in places:
            wrong.append(f"{name!r} is none of {', '.join(places)}")
        elif name in given:
            wrong.append(f"{name} is there twice")
        elif after == "off":
            del thresholds[places[name]]
        else:
            try:
                thresholds[places[name]] = _threshold(after)
            except ValueError as error:
                wrong.append(f"{name} {error}")
        given.add(name)
    if wrong:
        raise ValueError("; ".join(wrong))
    return thresholds


def _threshold(after: str) -> float:
    try:
        threshold = duration(after)
    except ValueError:
        threshold = 0
    if not threshold:
        raise ValueError("must be followed by a duration like '=90m', '=72h' or '=3d', or by '=off'")
    return threshold


def brokers(value: str) -> str:
    """Read hosts with their ports."""
    for broker in value.split(","):
        host, colon, port = broker.strip().rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError("must be host:port, several separated by commas")
    return ",".join(broker.strip() for broker in value.split(","))
