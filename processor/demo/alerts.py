"""A receiver of Alertmanager's web hook that prints a line for each alert, for the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from aiohttp import web

#: Of texts that a stranger may have written, so much is shown.
_TEXT_MAX = 300


class _Alert(msgspec.Struct):
    """The displayed part of one alert."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class _Notification(msgspec.Struct):
    """The used part of Alertmanager's notifications (version 4 of the format)."""

    alerts: list[_Alert]


_decode = msgspec.json.Decoder(_Notification).decode


class AlertReceiver:
    """Accepts notifications at any path, for any route of Alertmanager.

    Args:
        tell: called with a line for each alert: `alert FIRING critical DeliveryProcessorDown: No worker ...`.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        application = web.Application()
        application.router.add_post("/{path:.*}", self._take)
        # A time of 0 would have no limit.
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def start(self, host: str, port: int) -> str:
        """Bind and serve, on a free port when this one is taken; return the address."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await web.TCPSite(self._runner, host, 0).start()
        return f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop serving."""
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        try:
            notification = _decode(await request.read())
        except msgspec.MsgspecError as error:
            return web.Response(status=400, text=f"this is no notification of Alertmanager: {error}\n")
        for line in _lines(notification):
            self._tell(line)
        return web.Response(status=204)


def _lines(notification: _Notification) -> Iterator[str]:
    for alert in notification.alerts:
        names = (alert.labels.get(label, "") for label in ("severity", "alertname"))
        head = " ".join(["alert", alert.status.upper(), *filter(None, names)])
        yield _printable(f"{head}: {alert.annotations.get('summary', '')}")


def _printable(text: str) -> str:
    """Escape control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_TEXT_MAX])
