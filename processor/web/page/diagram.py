"""The transition diagrams, laid out from domain/transitions.py: every transition of a table is an arrow.

Only the places of boxes are declared here. The course of most messages runs along the upper row; the lower row has the
other ends. Arrows leave and reach a side of a box at points of their own, sorted so that few of them cross.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import NamedTuple

from processor.domain.status import Channel
from processor.domain.transitions import NODE_NAMES, REOPENING, TRANSITIONS, Node

_BOX_WIDTH, _BOX_HEIGHT, _PITCH, _ROOM, _MARGIN = 158, 84, 196, 170, 3

#: Where the rows begin: each has room above or below for arrows that pass over its own boxes.
_ROW_TOPS = (132, 132 + _BOX_HEIGHT + _ROOM)
_HEIGHT = _ROW_TOPS[1] + _BOX_HEIGHT + 64

#: Where each node stands: (row, column). A node that a table has and this has not is an error.
PLACES: dict[Channel, dict[Node, tuple[int, float]]] = {
    Channel.EMAIL: {
        Node.PENDING: (0, 0),
        Node.TAKEN_INTO_ACCOUNT: (0, 1.75),
        Node.SENT: (0, 3.5),
        Node.IGNORED: (1, 0),
        Node.NOT_APPLICABLE: (1, 1),
        Node.CANCELED: (1, 2),
        Node.FAILED_GAVE_UP: (1, 3),
        Node.FAILED: (1, 4),
    },
    Channel.SMS: {
        Node.PENDING: (0, 0),
        Node.PREPARED: (0, 1),
        Node.SENT_TO_PROVIDER: (0, 2),
        Node.TAKEN_INTO_ACCOUNT: (0, 3),
        Node.SENT: (0, 4),
        Node.RECEIVED_ON_MOBILE: (0, 5),
        Node.IGNORED: (1, 0.5),
        Node.NOT_APPLICABLE: (1, 1.5),
        Node.CANCELED: (1, 2.5),
        Node.FAILED_GAVE_UP: (1, 3.5),
        Node.FAILED: (1, 4.5),
    },
}


class Arrow(NamedTuple):
    """A transition: `step` along the usual course, `skip` any other, `again` only with a new attempt."""

    to: str
    kind: str
    path: str


class Box(NamedTuple):
    """A node and the arrows that leave it."""

    name: str
    x: float
    y: float
    width: int
    height: int
    is_final: bool
    arrows: list[Arrow]


class TableRow(NamedTuple):
    """The same transitions for a table."""

    node: str
    afters: list[str]
    again: list[str]


class Drawing(NamedTuple):
    """One channel's diagram and table."""

    channel: Channel
    width: float
    height: float
    #: The first y that anything is drawn at.
    top: float
    boxes: list[Box]
    rows: list[TableRow]


class _Edge(NamedTuple):
    start: Node
    end: Node
    kind: str


class _Port(NamedTuple):
    """An end of an arrow: at a side of a node's box."""

    node: Node
    side: str


def draw(channel: Channel) -> Drawing:
    """Lay out a channel's transitions."""
    places = PLACES[channel]
    edges = _edges(channel)
    spots = _spots(edges, places)
    boxes = []
    for node in TRANSITIONS[channel]:
        row, column = places[node]
        arrows = [
            Arrow(NODE_NAMES[edge.end], edge.kind, _path(edge, places, spots)) for edge in edges if edge.start is node
        ]
        is_final = not TRANSITIONS[channel][node]
        x, y = _MARGIN + _PITCH * column, _ROW_TOPS[row]
        boxes.append(Box(NODE_NAMES[node], x, y, _BOX_WIDTH, _BOX_HEIGHT, is_final, arrows))
    width = max(box.x for box in boxes) + _BOX_WIDTH + _MARGIN
    columns = [column for row, column in places.values() if row == 0]
    # A curve of this kind goes three quarters of the way to where it is pulled.
    top = _ROW_TOPS[0] - 0.75 * _reach(max(columns) - min(columns)) - 4
    rows = [_table_row(node, edges, places) for node in TRANSITIONS[channel]]
    return Drawing(channel, width, _HEIGHT - top, top, boxes, rows)


def _edges(channel: Channel) -> list[_Edge]:
    table, places = TRANSITIONS[channel], PLACES[channel]
    course = [node for node, (row, _) in sorted(places.items(), key=lambda item: item[1]) if row == 0]
    steps = set(itertools.pairwise(course))
    edges = [
        _Edge(node, after, "step" if (node, after) in steps else "skip")
        for node, afters in table.items()
        for after in sorted(afters)
    ]
    again = sorted((REOPENING & table.keys()) - table[Node.FAILED_GAVE_UP])
    return [*edges, *(_Edge(Node.FAILED_GAVE_UP, node, "again") for node in again)]


def _table_row(node: Node, edges: list[_Edge], places: dict[Node, tuple[int, float]]) -> TableRow:
    mine = sorted([edge for edge in edges if edge.start is node], key=lambda edge: places[edge.end])
    return TableRow(
        NODE_NAMES[node],
        [NODE_NAMES[edge.end] for edge in mine if edge.kind != "again"],
        [NODE_NAMES[edge.end] for edge in mine if edge.kind == "again"],
    )


def _ports(edge: _Edge, places: dict[Node, tuple[int, float]]) -> tuple[_Port, _Port]:
    (row, column), (end_row, end_column) = places[edge.start], places[edge.end]
    if row != end_row:
        sides = ("bottom", "top") if row < end_row else ("top", "bottom")
    elif edge.kind == "step" or (row == 1 and abs(end_column - column) == 1):
        sides = ("right", "left") if column < end_column else ("left", "right")
    else:
        sides = ("top", "top") if row == 0 else ("bottom", "bottom")
    return _Port(edge.start, sides[0]), _Port(edge.end, sides[1])


def _spots(edges: list[_Edge], places: dict[Node, tuple[int, float]]) -> dict[tuple[_Edge, bool], tuple[float, float]]:
    """Return the point of each end of each edge: those on one side of a box stand apart, in order of direction."""
    shared: dict[_Port, list[tuple[tuple[float, float], _Edge, bool]]] = defaultdict(list)
    for edge in edges:
        start, end = _ports(edge, places)
        shared[start].append((_direction(places[edge.start], places[edge.end]), edge, True))
        shared[end].append((_direction(places[edge.end], places[edge.start]), edge, False))
    spots: dict[tuple[_Edge, bool], tuple[float, float]] = {}
    for port, ends in shared.items():
        ends.sort()
        for index, (_, edge, is_start) in enumerate(ends):
            spots[edge, is_start] = _point(port, places[port.node], (index + 1) / (len(ends) + 1))
    return spots


def _direction(here: tuple[int, float], there: tuple[int, float]) -> tuple[float, float]:
    """Return what sorts ends along a side: arcs over their own row nest, the farthest outermost."""
    if here[0] == there[0]:
        return (there[1] > here[1], -there[1])
    return (0, there[1])


def _point(port: _Port, place: tuple[int, float], share: float) -> tuple[float, float]:
    x, y = _MARGIN + _PITCH * place[1], _ROW_TOPS[place[0]]
    if port.side in {"left", "right"}:
        return (x if port.side == "left" else x + _BOX_WIDTH), y + _BOX_HEIGHT / 2
    inset = 12
    return x + inset + share * (_BOX_WIDTH - 2 * inset), (y if port.side == "top" else y + _BOX_HEIGHT)


def _path(
    edge: _Edge, places: dict[Node, tuple[int, float]], spots: dict[tuple[_Edge, bool], tuple[float, float]]
) -> str:
    (x, y), (end_x, end_y) = spots[edge, True], spots[edge, False]
    start, end = _ports(edge, places)
    if start.side in {"left", "right"}:
        return f"M{x:g} {y:g}H{end_x:g}"
    if start.side == end.side:
        reach = _reach(places[edge.end][1] - places[edge.start][1]) * (-1 if start.side == "top" else 1)
        return f"M{x:.1f} {y:g}C{x:.1f} {y + reach:g} {end_x:.1f} {end_y + reach:g} {end_x:.1f} {end_y:g}"
    pull = _ROOM * (0.55 if end_y > y else -0.55)
    return f"M{x:.1f} {y:g}C{x:.1f} {y + pull:g} {end_x:.1f} {end_y - pull:g} {end_x:.1f} {end_y:g}"


def _reach(columns: float) -> float:
    """Return how far an arrow over its own row is pulled away from it."""
    return 16 + 30 * abs(columns)
