"""What a dashboard is made of, and the JSON that Grafana 10 to 13 load of it (the classic schema)."""  # noqa: INP001

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

#: The schema that the JSON is written in: that of Grafana 10. Later ones read it, and change it as they load it.
_SCHEMA_VERSION = 39

#: Grafana's grid is so many columns wide.
_COLUMNS = 24

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

#: A selector: a metric, the labels that it asks for, and the time that it looks back.
_SELECTOR = re.compile(r"\b(delivery_[a-z_]+|up|scrape_[a-z_]+|process_[a-z_]+)\b(?:\{([^}]*)\})?")

#: What the series of a histogram are called besides.
_OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")

#: The labels of each metric of ours.
Labels = Mapping[str, Collection[str]]


class Panel(NamedTuple):
    """One panel.

    Attributes:
        title: what it shows, in a few words.
        description: what it means, and what is good.
        unit: one of Grafana's.
        queries: what its series are called (`{{label}}` stands for a label's value), and the query for them. Queries
            are written without the choices of the dashboard's variables: every selector gets those that it can have.
        kind: timeseries, stat, bargauge or table.
        alerts: those that this panel shows the evidence of; it links to their runbooks.
        page: where the product's own page shows more.
        width: in columns of the grid, of which there are 24.
        height: in rows of the grid.
        red_from: the value from which on it is wrong; None: no value is.
        lowest: where the axis begins; None: where the values do.
        is_stacked: whether series add up to something.
        legend_on_right: whether series are named in a table beside the graph, the greatest first.
        columns: of a table, the units of its columns by their names.
        join: of a table of several queries, the label whose values are its rows.
    """

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    alerts: tuple[str, ...] = ()
    page: str = "/"
    width: int = 12
    height: int = 8
    red_from: float | None = None
    lowest: float | None = 0.0
    is_stacked: bool = False
    legend_on_right: bool = False
    columns: Mapping[str, str] = MappingProxyType({})
    join: str = ""


class Row(NamedTuple):
    """A line with a title, and the panels under it, from left to right as they fit."""

    title: str
    panels: tuple[Panel, ...]


class Variable(NamedTuple):
    """A choice at the head of a dashboard: the values of a label, as a metric has them."""

    name: str
    label: str
    metric: str


class Dashboard(NamedTuple):
    """One dashboard; `uid` is for life, since addresses hold it."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]


class Surroundings(NamedTuple):
    """What a dashboard must know besides: labels of metrics, the runbook of each alert, and where else one may go."""

    labels: Labels
    runbooks: Mapping[str, str]
    dashboards: Sequence[Dashboard]


def to_json(dashboard: Dashboard, around: Surroundings) -> dict[str, Any]:
    """Return what Grafana loads."""
    chosen = (*_ALWAYS, *dashboard.variables)
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["delivery-status"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": _SCHEMA_VERSION,
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "refresh": "30s",
        "annotations": {"list": []},
        "links": [
            *(_dashboard_link(other) for other in around.dashboards if other.uid != dashboard.uid),
            _link("Product page", "${page}/"),
        ],
        "templating": {"list": [_datasource(), *_variables(chosen, around.labels), _page()]},
        "panels": list(_panels(dashboard.rows, _Writer(chosen, around))),
    }


def scoped(expression: str, chosen: Iterable[Variable], labels: Labels) -> str:
    """Return a query in which every selector asks for what the reader chose.

    Raises:
        LookupError: a metric is not one of ours.
    """
    names = [variable.name for variable in chosen]

    def scope(found: re.Match[str]) -> str:
        own = _labels_of(found[1], labels)
        matchers = [f'{name}=~"${name}"' for name in names if name in own]
        return f"{found[1]}{{{','.join([*matchers, *filter(None, [found[2]])])}}}"

    return _SELECTOR.sub(scope, expression)


def _labels_of(metric: str, labels: Labels) -> set[str]:
    own: Collection[str] = ()
    if metric.startswith("delivery_"):
        known = labels.get(metric, labels.get(_OF_HISTOGRAM.sub("", metric)))
        if known is None:
            raise LookupError(f"there is no metric {metric}")
        own = known
    return {"job", "instance", *own}


class _Writer(NamedTuple):
    """What every panel of a dashboard is written with."""

    chosen: Sequence[Variable]
    around: Surroundings


# Head


def _dashboard_link(other: Dashboard) -> dict[str, Any]:
    return {**_link(other.title, f"/d/{other.uid}"), "targetBlank": False, "keepTime": True, "includeVars": True}


def _link(title: str, url: str) -> dict[str, Any]:
    return {"type": "link", "title": title, "url": url, "targetBlank": True, "icon": "external link"}


def _datasource() -> dict[str, Any]:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "refresh": 1,
        "hide": 0,
        "current": {},
    }


#: Every dashboard has these: whatever else is chosen is chosen among them.
_ALWAYS = (Variable("job", "Job", "delivery_messages"), Variable("instance", "Instance", "up"))


def _variables(chosen: Iterable[Variable], labels: Labels) -> Iterator[dict[str, Any]]:
    before: list[Variable] = []
    for variable in chosen:
        selector = scoped(variable.metric, before, labels) if before else variable.metric
        if len(before) < len(_ALWAYS):
            before.append(variable)
        yield {
            "type": "query",
            "name": variable.name,
            "label": variable.label,
            "datasource": _DATASOURCE,
            "query": f"label_values({selector}, {variable.name})",
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "hide": 0,
            "current": {"text": "All", "value": "$__all"},
        }


def _page() -> dict[str, Any]:
    url = "http://localhost:8080"
    return {
        "type": "textbox",
        "name": "page",
        "label": "Product page",
        "description": "Where one of the workers serves its page: links lead there.",
        "query": url,
        "current": {"text": url, "value": url},
        "hide": 0,
    }


# Panels


def _panels(rows: Sequence[Row], writer: _Writer) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield {"id": number, **_panel(panel, writer), "gridPos": place}
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, writer: _Writer) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "targets": [
            _target(panel, index, legend, scoped(expression, writer.chosen, writer.around.labels))
            for index, (legend, expression) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel))},
        "options": _OPTIONS[panel.kind](panel),
        "transformations": list(_transformations(panel)),
        "links": [
            *(_panel_link(f"Runbook: {alert}", writer.around.runbooks[alert]) for alert in panel.alerts),
            _panel_link("Product page", f"${{page}}{panel.page}"),
        ],
    }


def _panel_link(title: str, url: str) -> dict[str, Any]:
    return {"title": title, "url": url, "targetBlank": True}


def _target(panel: Panel, index: int, legend: str, expression: str) -> dict[str, Any]:
    is_instant = panel.kind != "timeseries"
    return {
        "refId": chr(ord("A") + index),
        "datasource": _DATASOURCE,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend,
        "instant": is_instant,
        "range": not is_instant,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
    }
    if links := list(_series_links(panel)):
        defaults["links"] = links
    if panel.lowest is not None:
        defaults["min"] = panel.lowest
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 40 if panel.is_stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if panel.red_from is None else "line"},
        }
    return defaults


def _series_links(panel: Panel) -> Iterator[dict[str, Any]]:
    """Lead from a series to the deliveries that it is about."""
    told = [name for name in ("channel", "status", "provider") if all(f"{{{{{name}}}}}" in of for of in panel.queries)]
    if told:
        query = "&".join(f"{name}=${{__field.labels.{name}}}" for name in told)
        yield _panel_link("Deliveries", f"${{page}}/deliveries?{query}")


def _overrides(panel: Panel) -> Iterator[dict[str, Any]]:
    for name, unit in panel.columns.items():
        yield {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}


def _transformations(panel: Panel) -> Iterator[dict[str, Any]]:
    if panel.kind != "table":
        return
    if panel.join:
        yield {"id": "joinByField", "options": {"byField": panel.join, "mode": "outer"}}
    names = {f"Value #{chr(ord('A') + index)}": legend for index, legend in enumerate(panel.queries)}
    if len(names) == 1:
        names = dict.fromkeys(["Value"], *panel.queries)
    # Joined, each query brings a time of its own.
    hidden = {"Time": True, **{f"Time {index + 1}": True for index in range(len(panel.queries))}}
    yield {"id": "organize", "options": {"excludeByName": hidden, "renameByName": names, "indexByName": {}}}


def _timeseries(panel: Panel) -> dict[str, Any]:
    legend = (
        {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull", "max"]}
        if panel.legend_on_right
        else {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    )
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _stat(_panel: Panel) -> dict[str, Any]:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    }


def _bargauge(_panel: Panel) -> dict[str, Any]:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
    }


def _table(_panel: Panel) -> dict[str, Any]:
    return {"showHeader": True, "cellHeight": "sm"}


_OPTIONS = {"timeseries": _timeseries, "stat": _stat, "bargauge": _bargauge, "table": _table}
