"""Rendering of templates: one environment for each language, so that templates name texts and no language."""

from __future__ import annotations

from enum import Enum
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap
from typing import Any
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from processor.printable import showable
from processor.web.page import charts, moments
from processor.web.page.assets import assets
from processor.web.page.language import LANGUAGES, Language
from processor.web.page.message_filters import delivery_address, messages_address, stands_at

#: How many characters of a label fit into one line of a box of a diagram.
_BOX_LINE = 19


def page(name: str, language: Language, **values: Any) -> str:
    """Render the template of a page; every one needs `request` and `now` among its values."""
    return _environment(language).get_template(f"{name}.html").render(**values)


@cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(
        lang=language,
        t=language.text,
        n=language.number,
        languages=tuple(LANGUAGES.values()),
        in_language=_in_language,
        own_address=_own_address,
        messages_at=messages_address,
        stands_at=stands_at,
        delivery_at=delivery_address,
        asset=assets().address,
        version=version("delivery-status"),
        share_bar=charts.share_bar,
        wrapped=partial(wrap, width=_BOX_LINE, break_on_hyphens=False),
    )
    environment.filters.update(
        moment=moments.element, segment=_segment, lasting=_lasting, remaining=_remaining, age=_age
    )
    return environment


def _shown(value: Any) -> Any:
    """Make what others wrote harmless for the text around it; markup is ours. A status is shown as its value."""
    if isinstance(value, Enum):
        return value.value
    return showable(value) if type(value) is str else value


@pass_context
def _lasting(context: Context, moment: str) -> str:
    """Return the time since a moment."""
    language: Language = context["lang"]
    return language.span(moments.since(moment, context["now"]))


@pass_context
def _remaining(context: Context, moment: str) -> str:
    """Return the time until a moment."""
    language: Language = context["lang"]
    return language.span((moments.parse(moment) - context["now"]).total_seconds())


@pass_context
def _age(context: Context, moment: str) -> str:
    """Return how long something has lasted since a moment."""
    language: Language = context["lang"]
    return language.text("age", span=_lasting(context, moment))


def _segment(identifier: str) -> str:
    """Return an id as one segment of a path: ids may hold anything."""
    return quote(identifier, safe="")


def _in_language(request: web.Request, code: str) -> str:
    """Return the address of the same page in another language."""
    return _on_this_site(str(request.rel_url.update_query(lang=code)))


def _own_address(request: web.Request) -> str:
    """Return the address of the same page."""
    return _on_this_site(str(request.rel_url))


def _on_this_site(address: str) -> str:
    """Keep an address on this site: one that begins with two slashes would lead to another."""
    return "/" + address.lstrip("/\\")
