"""Payloads as nobody should send them: samples of providers, changed at random, from a seed.

Every function is pure, but for the `Random` that it draws from. A payload is the bytes of a record's value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus, urlencode

import orjson

from tests.fuzz.fragments import TEXTS, TIMES, VALUES, WRITTEN

#: A payload of many elements, fields, columns or lines has up to so many bytes.
LARGE = 64_000


class Seeds(NamedTuple):
    """What payloads are made of: a provider's samples, and those of all."""

    own: list[Any]
    all: list[Any]


def payload(random: Random, seeds: Seeds) -> bytes:
    """Make one payload."""
    sample = random.choice(seeds.own)
    made = _of_text(random, sample, seeds) if isinstance(sample, str) else _of_json(random, sample, seeds)
    if random.random() < 0.05:
        other = random.choice(seeds.all)
        made = spliced(random, made, (other if isinstance(other, str) else json.dumps(other)).encode())
    return _bytes_changed(random, made) if random.random() < 0.15 else made


def _several(random: Random, most: int) -> range:
    """Say how often something is done: once most often."""
    return range(min(most, 1 + int(random.expovariate(1.2))))


# JSON


def _of_json(random: Random, sample: object, seeds: Seeds) -> bytes:
    value = _copy(sample)
    kind = random.random()
    if kind < 0.08 and isinstance(value, dict):
        return _as_form(random, value).encode(errors="surrogatepass")
    if kind < 0.16:
        value = [_copy(random.choice(seeds.own)) for _ in range(random.choice((1, 2, 3, 8)))]
    for _ in _several(random, 6):
        value = random.choice(JSON_MUTATIONS)(random, value, seeds)
    if kind > 0.995:
        text = _written(random, value)
        return f"[{','.join([text] * (LARGE // (len(text) + 1) + 1))}]".encode(errors="replace")
    return _written(random, value).encode(errors="replace")


def _copy(value: object) -> Any:
    return orjson.loads(orjson.dumps(value))


_PLACEHOLDER = re.compile('"(?:\ue000|\\\\ue000)([0-9]{1,3})(?:\ue001|\\\\ue001)"')
_FRAGMENTS = tuple(WRITTEN.values())


def _written(random: Random, value: object) -> str:
    text = json.dumps(value, ensure_ascii=random.random() < 0.5, separators=random.choice(((",", ":"), (", ", ": "))))
    return _PLACEHOLDER.sub(lambda match: _FRAGMENTS[int(match[1]) % len(_FRAGMENTS)], text)


def _holders(value: object) -> list[Any]:
    """Give all objects and arrays with something in them, the outermost first."""
    found = [value] if isinstance(value, dict | list) and value else []
    for holder in found:
        inner = holder.values() if isinstance(holder, dict) else holder
        found += [each for each in inner if isinstance(each, dict | list) and each]
        if len(found) > 500:
            break
    return found


def _place(random: Random, value: object) -> tuple[Any, Any] | None:
    """Choose a place inside a value: its object or array, and its name or number there."""
    holders = _holders(value)
    if not holders:
        return None
    holder = random.choice(holders)
    return holder, random.choice(list(holder)) if isinstance(holder, dict) else random.randrange(len(holder))


def _changed(change: Callable[[Random, Any, Seeds], Any]) -> Callable[[Random, Any, Seeds], Any]:
    """Make a mutation of one place out of a change of what is there."""

    def mutation(random: Random, value: Any, seeds: Seeds) -> Any:
        place = _place(random, value)
        if place is None:
            return change(random, value, seeds)
        holder, name = place
        holder[name] = change(random, holder[name], seeds)
        return value

    mutation.__name__ = change.__name__
    return mutation


def drop(random: Random, value: Any, seeds: Seeds) -> Any:
    """Leave something out."""
    if place := _place(random, value):
        del place[0][place[1]]
    return value


def swap(random: Random, value: Any, seeds: Seeds) -> Any:
    """Let two things change places."""
    one, other = _place(random, value), _place(random, value)
    if one and other:
        (holder, name), (holder_there, name_there) = one, other
        # Copies: what holds itself cannot be written.
        inner, inner_there = _plain_copy(holder[name]), _plain_copy(holder_there[name_there])
        holder[name], holder_there[name_there] = inner_there, inner
    return value


def _plain_copy(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, dict | list) else value


def rename(random: Random, value: Any, seeds: Seeds) -> Any:
    """Give a field another name: in another case, of another sample, of a message id."""
    place = _place(random, value)
    if place and isinstance(place[0], dict):
        holder, name = place
        names = name.upper(), name.title(), name.replace("_", "-"), f" {name}", f"{name}\0", "", "message_id", "type"
        holder[random.choice(names)] = holder.pop(name)
    return value


def repeat(random: Random, value: Any, seeds: Seeds) -> Any:
    """Let something be there many times."""
    place = _place(random, value)
    if place:
        holder, name = place
        times = random.choice((2, 2, 3, 10, 200))
        inner = holder[name]
        if len(str(inner)) * times > LARGE:
            return value
        holder[name] = inner * times if isinstance(inner, str | list) else [inner] * times
    return value


@_changed
def retype(random: Random, value: Any, seeds: Seeds) -> Any:
    """Put a value there that does not belong there."""
    # A copy: what is put there may be mutated in its turn, or be put into itself.
    return deepcopy(random.choice(random.choice((VALUES, VALUES, TEXTS, TIMES, tuple(WRITTEN)))))


@_changed
def nest(random: Random, value: Any, seeds: Seeds) -> Any:
    """Put it inside something else."""
    for _ in range(random.choice((1, 1, 2, 30, 300))):
        value = [value] if random.random() < 0.5 else {random.choice(("a", "data", "message")): value}
    return value


@_changed
def unwrap(random: Random, value: Any, seeds: Seeds) -> Any:
    """Put what is inside in its place."""
    if isinstance(value, dict | list) and value:
        return random.choice(list(value.values()) if isinstance(value, dict) else value)
    return value


@_changed
def graft(random: Random, value: Any, seeds: Seeds) -> Any:
    """Take a part of another sample, perhaps another provider's."""
    other = _copy(random.choice(random.choice((seeds.own, seeds.all))))
    place = _place(random, other)
    return place[0][place[1]] if place else other


@_changed
def write_out(random: Random, value: Any, seeds: Seeds) -> Any:
    """Write a value out as a text; or read a text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return [value]
    return json.dumps(value)


@_changed
def stretch(random: Random, value: Any, seeds: Seeds) -> Any:
    """Make it as long as no text is."""
    text = value if isinstance(value, str) and value else random.choice(TEXTS)
    length = random.choice((256, 513, 1_001, 5_000))
    return (text * (length // len(text) + 1))[:length]


@_changed
def alter(random: Random, value: Any, seeds: Seeds) -> Any:
    """Change a text or a number a little."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float) and abs(value) < 1e100:
        return random.choice((-value, value + 1, value * 1_000, value * 10**9, value // 1_000, repr(value)[:400]))
    if isinstance(value, str):
        return random.choice(TEXT_MUTATIONS)(random, value, seeds)
    return value


JSON_MUTATIONS = (drop, swap, rename, repeat, retype, retype, nest, unwrap, graft, write_out, stretch, alter, alter)


# Text


def _of_text(random: Random, sample: str, seeds: Seeds) -> bytes:
    text = sample
    kinds: list[tuple[Any, ...]] = [TEXT_MUTATIONS]
    if "=" in text and "&" in text:
        kinds += [FORM_MUTATIONS] * 2
    elif text.count(",") > 3:
        kinds += [CSV_MUTATIONS] * 2
    else:
        kinds += [LINE_MUTATIONS]
    for _ in _several(random, 6):
        text = random.choice(random.choice(kinds))(random, text, seeds)
    return text.encode(errors="replace")


def cut(random: Random, text: str, seeds: Seeds) -> str:
    """Keep the beginning, or the end."""
    at = random.randint(0, len(text))
    return text[:at] if random.random() < 0.7 else text[at:]


def lose(random: Random, text: str, seeds: Seeds) -> str:
    """Leave out a few characters."""
    start = random.randint(0, len(text))
    return text[:start] + text[start + random.choice((1, 1, 2, 5, 20)) :]


def insert(random: Random, text: str, seeds: Seeds) -> str:
    """Put something in between."""
    at = random.randint(0, len(text))
    return text[:at] + random.choice(random.choice((TEXTS, TIMES))) + text[at:]


def double(random: Random, text: str, seeds: Seeds) -> str:
    """Repeat a part of it."""
    start = random.randint(0, len(text))
    part = text[start : start + random.choice((1, 5, 50))]
    return text[:start] + part * random.choice((2, 3, 100)) + text[start:]


_NUMBER = re.compile(r"[0-9]+")
_WORD = re.compile(r"[A-Za-z]+")


def renumber(random: Random, text: str, seeds: Seeds) -> str:
    """Give another number in place of one that is there."""
    number = random.choice(("0", "-1", "99", "999", "00000001", "1e9", "9" * 30, "9" * 5_000, "٣", "²", "0x1f", ""))
    return _replaced(random, text, _NUMBER, number)


def reword(random: Random, text: str, seeds: Seeds) -> str:
    """Put another word in place of one that is there."""
    return _replaced(random, text, _WORD, random.choice(("", "DELIVRD", "bounced", "null", "Teleport", *TEXTS[:12])))


def _replaced(random: Random, text: str, pattern: re.Pattern[str], replacement: str) -> str:
    found = list(pattern.finditer(text[:LARGE]))
    if not found:
        return text + replacement
    match = random.choice(found)
    return text[: match.start()] + replacement + text[match.end() :]


def recase(random: Random, text: str, seeds: Seeds) -> str:
    """Write it in another case."""
    return random.choice((text.upper, text.lower, text.swapcase, text.title))()


def splice(random: Random, text: str, seeds: Seeds) -> str:
    """Go on with a part of another sample."""
    other = random.choice(random.choice((seeds.own, seeds.all)))
    other = other if isinstance(other, str) else json.dumps(other)
    return text[: random.randint(0, len(text))] + other[random.randint(0, len(other)) :]


TEXT_MUTATIONS = (cut, lose, insert, double, renumber, reword, recase, splice)


# Forms


def _as_form(random: Random, record: dict[str, Any]) -> str:
    fields = {name: value if isinstance(value, str | int) else json.dumps(value) for name, value in record.items()}
    return _form_changed(random, urlencode(fields, errors="replace"))


def _form_changed(random: Random, text: str) -> str:
    for _ in _several(random, 4):
        text = random.choice(FORM_MUTATIONS)(random, text, Seeds([], []))
    return text


def refield(random: Random, text: str, seeds: Seeds) -> str:
    """Repeat, lose, empty or move a field, or take its '='."""
    fields = text.split("&")
    at = random.randrange(len(fields))
    name, _, value = fields[at].partition("=")
    fields[at : at + 1] = random.choice(
        (
            [fields[at]] * random.choice((2, 3, 400)),
            [],
            [name],
            [f"{name}="],
            [f"={value}"],
            [f"{name}=={value}"],
            [f"{name}[]={value}", f"{name}[a]={value}"],
            [fields[at], f"{name}={quote_plus(random.choice(TEXTS))}"],
            [f"{name}={quote_plus(random.choice(TIMES))}"],
            ["", ""],
        )
    )
    return "&".join(fields)


def shuffle(random: Random, text: str, seeds: Seeds) -> str:
    """Give the fields in another order."""
    fields = text.split("&")
    random.shuffle(fields)
    return random.choice("&&&;?").join(fields)


def percent(random: Random, text: str, seeds: Seeds) -> str:
    """Encode a part once more, or break a code."""
    start = random.randint(0, len(text))
    end = start + random.choice((1, 3, 40))
    broken = random.choice(("%", "%z", "%zz", "%0", "%00", "%FF", "%C3%28", "%25", "%ED%A0%80", "+"))
    middle = quote(text[start:end], safe="", errors="replace") if random.random() < 0.6 else broken
    return text[:start] + middle + text[end:]


def flood(random: Random, text: str, seeds: Seeds) -> str:
    """Add very many fields."""
    number = random.choice((100, 490, 510, 5_000))
    return "&".join([text, *(f"f{each}={each}" for each in range(number))])


def address(random: Random, text: str, seeds: Seeds) -> str:
    """Put an address before it, as a query's."""
    return random.choice(("?", "/hook?", "https://example.org/a=b?", "GET /x?", "{", " ", "\ufeff")) + text


FORM_MUTATIONS = (refield, refield, refield, shuffle, percent, percent, address, cut, insert, flood)


# CSV


def requote(random: Random, text: str, seeds: Seeds) -> str:
    """Open, close or double a quote."""
    commas = [match.end() for match in re.finditer(",", text[:LARGE])] or [0]
    at = random.choice(commas)
    return text[:at] + random.choice(('"', '""', '"""', '"a,b"', '"a\nb",', "'", '"a"b,')) + text[at:]


def reshape(random: Random, text: str, seeds: Seeds) -> str:
    """Give a row more or fewer columns."""
    lines = text.split("\n")
    at = random.randrange(len(lines))
    columns = lines[at].split(",")
    index = random.randrange(len(columns))
    columns[index : index + 1] = random.choice(([], ["", ""], [random.choice(TEXTS)], columns, [columns[index]] * 50))
    lines[at] = ",".join(columns)
    return "\n".join(lines)


def rehead(random: Random, text: str, seeds: Seeds) -> str:
    """Take the header line, repeat it, or put it at the end."""
    lines = text.split("\n")
    head, rows = lines[0], lines[1:]
    shuffled = head.split(",")
    random.shuffle(shuffled)
    made = random.choice(
        (rows, [head], [head, *rows, head, *rows], [*rows, head], [",".join(shuffled), *rows], ["\ufeff" + head, *rows])
    )
    return "\n".join(made)


def relines(random: Random, text: str, seeds: Seeds) -> str:
    """End lines in another way, or add empty ones."""
    return text.replace("\n", random.choice(("\r\n", "\r", "\n\n", "\n\r", " \n", "\n,,,,\n", "\0\n")))


def extend(random: Random, text: str, seeds: Seeds) -> str:
    """Add a row very often."""
    line = text.rsplit("\n", 1)[-1]
    return text + ("\n" + line) * min(random.choice((2, 10, 500)), LARGE // (len(line) + 1))


CSV_MUTATIONS = (requote, requote, reshape, reshape, rehead, relines, extend, insert, renumber)


# Lines of logs


def join_lines(random: Random, text: str, seeds: Seeds) -> str:
    """Let two lines run into one another, or follow one another."""
    others = [each for each in random.choice((seeds.own, seeds.all)) if isinstance(each, str)] or [text]
    return text + random.choice(("", " ", "\n", "\r\n", "\0")) + random.choice(others)


def prefix(random: Random, text: str, seeds: Seeds) -> str:
    """Put before it what a collector of logs does."""
    heads = (
        "<22>",
        "<22>1 ",
        "2026-01-01T00:00:00+00:00 host ",
        "Jan  1 00:00:00 host app[1]: ",
        "\x1b[0m",
        "> ",
        "\t",
    )
    return random.choice(heads) + text


def reword_column(random: Random, text: str, seeds: Seeds) -> str:
    """Leave out, repeat or replace what stands between blanks."""
    words = text.split(" ")
    at = random.randrange(len(words))
    words[at : at + 1] = random.choice(([], [words[at]] * 2, [random.choice(TEXTS)], [random.choice(TIMES)], ["", ""]))
    return " ".join(words)


LINE_MUTATIONS = (join_lines, prefix, reword_column, reword_column, reword_column, relines, extend, requote)


# Bytes


def spliced(random: Random, one: bytes, other: bytes) -> bytes:
    """Begin as one payload and end as another."""
    return one[: random.randint(0, len(one))] + other[random.randint(0, len(other)) :]


def _bytes_changed(random: Random, data: bytes) -> bytes:
    for _ in _several(random, 4):
        at = random.randint(0, len(data))
        kind = random.randrange(7)
        if kind == 0:
            data = data[:at]
        elif kind == 1:
            data = data[:at] + data[at + random.choice((1, 2, 9)) :]
        elif kind == 2:
            data = data[:at] + random.randbytes(random.choice((1, 2, 9))) + data[at:]
        elif kind == 3 and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
        elif kind == 4:
            data = random.choice((b"\xef\xbb\xbf", b"\0", b" ", b"\n", b"\x1f\x8b", b"\xff\xfe")) + data
        elif kind == 5:
            data += random.choice((b"\0", b" ", b"\n", b"}", b"]", b'"', b"{}", b"\xc3"))
        else:
            data = data.decode(errors="replace").encode(random.choice(("utf-16", "latin-1", "cp1252")), "replace")
    return data
