"""The page of the audit: who did what, for operators."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import web

from processor.web.audit_list import AUDIT_PARAMETERS, AuditLists
from processor.web.page.frame import Frame, Visit
from processor.web.page.language import Language
from processor.web.parameters import parse_query
from processor.wire.audit import Deed, Via

#: Where the audit is listed.
PLACE = "/audit"

_FILTERS = ("who", "deed", "via", "subject")


class AuditPages:
    """Shows the audit, newest first."""

    def __init__(self, frame: Frame, audit: AuditLists) -> None:
        self._frame, self._audit = frame, audit

    def add_to(self, routes: web.UrlDispatcher) -> None:
        """Add the routes."""
        routes.add_get(PLACE, self._frame.operators(self._list))

    async def _list(self, visit: Visit) -> web.Response:
        query = visit.request.query
        form = {name: query.get(name, "").strip() for name in _FILTERS}
        wanted = {name: value for name, value in form.items() if value}
        cursor = query.get("cursor", "")
        parameters = {**wanted, **({"cursor": cursor} if cursor else {})}
        found = await self._audit.list(parse_query(parameters, AUDIT_PARAMETERS))
        return self._frame.page(
            visit,
            "audit_list",
            found=found.items,
            form=form,
            place=PLACE,
            filtered=bool(wanted),
            choices=_choices(visit.language),
            earlier=_address(wanted) if cursor else None,
            later=_address(wanted, cursor=found.next) if found.next else None,
        )


def _choices(language: Language) -> dict[str, list[tuple[str, str]]]:
    everything = ("", language.text("filter.any"))
    return {
        "deed": [everything, *((deed.value, language.known("deed", deed.value)) for deed in Deed)],
        "via": [everything, *((via.value, language.known("via", via.value)) for via in Via)],
    }


def _address(wanted: Mapping[str, str], **more: str) -> str:
    query = urlencode({**wanted, **more})
    return f"{PLACE}?{query}" if query else PLACE
