"""Static files under names that change with their content, so that browsers may keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """One file: its bytes as they are and compressed, their type, and their digest."""

    body: bytes
    compressed: bytes
    content_type: str
    etag: str


class Assets:
    """All static files, read once."""

    def __init__(self) -> None:
        self._by_address: dict[str, Asset] = {}
        self._addresses: dict[str, str] = {}
        for path in sorted(_FOLDER.iterdir()):
            body = path.read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:12]
            name = f"{path.stem}.{digest}{path.suffix}"
            self._by_address[name] = Asset(body, gzip.compress(body, mtime=0), _TYPES[path.suffix], digest)
            self._addresses[path.name] = f"/static/{name}"

    def address(self, name: str) -> str:
        """Return the address of a file.

        Raises:
            KeyError: there is no such file.
        """
        return self._addresses[name]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer with a file; its address names its content, so any other content is not found."""
        asset = self._by_address.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        response = web.Response(headers=headers)
        response.etag = asset.etag
        if any(etag.value in {asset.etag, "*"} for etag in request.if_none_match or ()):
            response.set_status(304)
            return response
        response.body = asset.body
        response.content_type = asset.content_type
        response.charset = "utf-8"
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            response.body = asset.compressed
            response.headers["Content-Encoding"] = "gzip"
        return response


@cache
def assets() -> Assets:
    """Return the static files of this process."""
    return Assets()
