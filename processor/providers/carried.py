"""Read the texts in which fields travel: a form body or a query, and the one free text that a provider hands back."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from processor.providers.adapter import PayloadError
from processor.providers.fields import MAX_ID, json_of, object_of

#: A callback has some twenty fields and our own; a body with more is an attack on memory.
_MAX_FIELDS = 500
#: What a provider hands back for us is short (Vonage allows 100 characters, Infobip 4000).
_MAX_REFERENCE = 4000


def fields_of(element: object) -> dict[str, Any]:
    """Take the fields of a callback: a JSON object, a form body, or the query of a GET, alone or with its address."""
    if isinstance(element, str) and "=" in element and not element.lstrip().startswith(("{", "[")):
        if element.count("&") >= _MAX_FIELDS:
            raise PayloadError(f"a form body of more than {_MAX_FIELDS} fields")
        head, mark, query = element.strip().partition("?")
        return _form(query if mark and "=" not in head else element.strip())
    return object_of(element)


def query_of(text: str) -> dict[str, Any]:
    """Take the fields of an address's query; one with more fields than any callback has is empty."""
    return _form(text) if text.count("&") < _MAX_FIELDS else {}


def _form(text: str) -> dict[str, Any]:
    # As urllib.parse.parse_qsl does, in a third of its time: most names and values need no decoding. Of fields with
    # the same name the last one counts.
    form: dict[str, Any] = {}
    for field in text.split("&"):
        if field:
            name, _, value = field.partition("=")
            form[_decoded(name)] = _decoded(value)
    return form


def _decoded(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return unquote_to_bytes(text).decode(errors="replace") if "%" in text else text


def reference_of(value: object) -> dict[str, Any]:
    """Take our own ids out of what a provider hands back: an object, JSON text, 'name=value' joined by '&', or tags.

    A text without names is nobody's id: it may name a campaign, and one row would swallow all its messages. Who sends
    our own message id alone sets the name of the provider's field as the name to look for.
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        # Tags: "name=value" or "name:value".
        places = [_named(tag) for tag in value[:_MAX_FIELDS] if isinstance(tag, str)]
        return {name: found for place in reversed(places) for name, found in place.items()}
    return _named(value) if isinstance(value, str) else {}


def _named(text: str) -> dict[str, Any]:
    if len(text) > _MAX_REFERENCE:
        return {}
    if text.startswith("{"):
        try:
            reference = json_of(text)
        except ValueError:
            return {}
        return reference if isinstance(reference, dict) else {}
    if "=" in text:
        return _form(text)
    name, mark, value = text.partition(":")
    return {name.strip(): value.strip()} if mark and len(value) <= MAX_ID else {}
