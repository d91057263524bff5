"""Read the texts in which fields travel: a form body or a query, and the one free text that a provider hands back."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from processor.providers.adapter import PayloadError
from processor.providers.fields import MAX_ID, object_of

#: A callback has some twenty fields and our own; a body with more is an attack on memory.
_MAX_FIELDS = 500
#: What a provider hands back for us is short (Vonage allows 100 characters, Infobip 4000).
_MAX_REFERENCE = 4000


def fields_of(element: object) -> dict[str, Any]:
    """Take the fields of a callback: a JSON object, a form body, or the query of a GET, alone or with its address."""
    if isinstance(element, str) and "=" in element and not element.lstrip().startswith(("{", "[")):
        return _form(element)
    return object_of(element)


def _form(text: str) -> dict[str, Any]:
    if text.count("&") >= _MAX_FIELDS:
        raise PayloadError(f"a form body of more than {_MAX_FIELDS} fields")
    head, mark, query = text.strip().partition("?")
    if mark and "=" not in head:
        text = query
    # As urllib.parse.parse_qsl does, in a third of its time: most names and values need no decoding.
    form: dict[str, Any] = {}
    for field in text.split("&"):
        name, _, value = field.partition("=")
        form[_decoded(name)] = _decoded(value)
    return form


def _decoded(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return unquote(text) if "%" in text else text


def reference_of(value: object) -> dict[str, Any]:
    """Take our own ids out of what a provider hands back: an object, JSON text, 'name=value' joined by '&', or tags.

    A text without names is nobody's id: it may name a campaign, and one row would swallow all its messages. Who sends
    our own message id alone sets the name of the provider's field as the name to look for.
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        # Tags: "name=value" or "name:value".
        places = [reference_of(tag) for tag in value[:_MAX_FIELDS] if isinstance(tag, str)]
        return {name: found for place in reversed(places) for name, found in place.items()}
    if not isinstance(value, str) or len(value) > _MAX_REFERENCE:
        return {}
    if value.startswith("{"):
        try:
            reference = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
        return reference if isinstance(reference, dict) else {}
    if "=" in value:
        return dict(parse_qsl(value, max_num_fields=_MAX_REFERENCE))
    name, mark, rest = value.partition(":")
    return {name.strip(): rest.strip()} if mark and len(rest) <= MAX_ID else {}
