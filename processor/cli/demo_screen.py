"""The demo's terminal output: lines, and below them a table that is kept up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from processor.cli.common import console, echo, echo_json
from processor.domain.status import DEFINITIONS, Channel, Status
from processor.metrics import VERDICTS, Metrics
from processor.metrics.labels import by_status, texts_of
from processor.printable import printable

_DRAW_SECONDS = 0.5


class Screen:
    """Prints lines and a table; with `as_json`, lines on standard error and the last figures as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        #: The terminal, while it shows the table.
        self._console: Any = None

    def tell(self, line: str) -> None:
        """Print a line above the table."""
        if self._console is None:
            echo(line, err=self._as_json)
        else:
            self._console.print(printable(line), soft_wrap=True)

    @asynccontextmanager
    async def live(self, metrics: Callable[[], Metrics]) -> AsyncIterator[None]:
        """Show the table while the block runs, if there is a terminal."""
        from rich.console import Group
        from rich.live import Live

        screen = console()
        if self._as_json or not screen.is_terminal:
            yield
            return
        with Live(Group(*_render(metrics())), console=screen, auto_refresh=False, transient=True) as table:

            async def draw() -> None:
                while True:
                    await asyncio.sleep(_DRAW_SECONDS)
                    table.update(Group(*_render(metrics())), refresh=True)

            self._console = screen
            drawing = asyncio.ensure_future(draw())
            try:
                yield
            finally:
                drawing.cancel()
                self._console = None

    def final(self, metrics: Metrics) -> None:
        """Show the last figures."""
        if self._as_json:
            echo_json(_figures(metrics))
            return
        terminal = console()
        for part in _render(metrics):
            terminal.print(part, soft_wrap=True)


def _figures(metrics: Metrics) -> dict[str, Any]:
    def total(name: str, **wanted: str) -> int:
        return int(
            sum(
                sample.value
                for family in metrics.registry.collect()
                for sample in family.samples
                if sample.name == name and all(sample.labels[label] == value for label, value in wanted.items())
            )
        )

    messages = {
        channel.value: {
            status.value: total("delivery_messages", channel=channel.value, status=status.value)
            for known, status in by_status()
            if known is channel
        }
        for channel in Channel
    }
    return {
        "messages": messages,
        "events": {verdict: total("delivery_events_total", verdict=verdict) for verdict in texts_of(VERDICTS)},
        "dead_letters": total("delivery_dead_letters_total"),
        "conservation_error": total("delivery_conservation_error"),
    }


def _render(metrics: Metrics) -> tuple[Any, ...]:
    from rich.table import Table
    from rich.text import Text

    figures = _figures(metrics)
    table = Table(box=None, pad_edge=False)
    for column in ("status", "e-mail", "SMS"):
        table.add_column(column, justify="left" if column == "status" else "right")
    for status in Status:
        cells = [figures["messages"][channel.value].get(status.value) for channel in Channel]
        table.add_row(DEFINITIONS[status].english, *["" if cell is None else f"{cell:,}" for cell in cells])
    sums = [sum(figures["messages"][channel.value].values()) for channel in Channel]
    table.add_row("all", *[f"{number:,}" for number in sums], style="bold")
    events = "   ".join(f"{verdict} {number:,}" for verdict, number in figures["events"].items() if number)
    facts = Text(
        f"events   {events}\n"
        f"dead letters {figures['dead_letters']:,}   conservation error {figures['conservation_error']}"
    )
    return table, facts
