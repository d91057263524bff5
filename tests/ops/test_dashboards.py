"""The dashboards are up to date, load anywhere, and keep the rules of Grafana's dashboard-linter.

The linter itself is a Go program that no registry here has. Its rules, read at commit 4d0844b (2026-06): template-
datasource, template-job, template-instance, template-label-promql, template-on-time-change-reload, panel-datasource,
panel-title-description, panel-units, panel-no-targets, target-promql (in test_queries.py, by Prometheus itself),
target-rate-interval, target-job, target-instance, target-counter-agg, uneditable.
"""

import json
import re
import subprocess
from types import SimpleNamespace

import pytest

from tests.cases import every_case
from tests.ops.conftest import OPS, panels_of, read_alerts, read_dashboards, read_yaml
from tests.tools import ROOT, require_npm

SCHEMA = ROOT / "tests" / "ops" / "grafana_schema"
DASHBOARDS = read_dashboards()
#: With a name for each, of panels and of queries.
PANELS = [
    (f"{uid}-{panel['title']}", dashboard, panel)
    for uid, dashboard in DASHBOARDS.items()
    for panel in panels_of(dashboard)
]
TARGETS = [
    (f"{name}-{target['refId']}", dashboard, panel, target)
    for name, dashboard, panel in PANELS
    for target in panel["targets"]
]

#: Those of Grafana's that the linter knows, as far as we use them.
UNITS = {"none", "short", "s", "percentunit", "ops", "mps", "bytes"}

#: What Grafana has now; graph, singlestat and table-old are gone since 11.
PANEL_TYPES = {"timeseries", "stat", "bargauge", "table", "row"}

#: Selectors: a name, with the labels that it asks for.
SELECTOR = re.compile(r"\b(delivery_[a-z_]+|up|scrape_[a-z_]+|process_[a-z_]+|ALERTS)\b(?:\{([^}]*)\})?")

#: Where selectors do without job or instance, by rule, as the linter is told.
EXCLUDED = {
    rule.removesuffix("-rule").removeprefix("target-"): {
        (each["dashboard"], each["panel"]) for each in excluded["entries"]
    }
    for rule, excluded in read_yaml("ops/grafana/dashboards/.lint")["exclusions"].items()
}


def variable(dashboard, name):
    [found] = [each for each in dashboard["templating"]["list"] if each["name"] == name]
    return SimpleNamespace(**found)


# The files


def test_they_are_what_the_builder_makes(build):
    made = {path.name: text for path, text in build.files()}
    shipped = {path.name: path.read_text(encoding="utf-8") for path in (OPS / "grafana/dashboards").glob("*.json")}
    assert shipped == made, "python ops/grafana/build.py"


@pytest.fixture(scope="module")
def diagnose():
    """Give what Grafana's own types find wrong with files."""
    node = require_npm(SCHEMA)

    def run(*paths):
        done = subprocess.run([node, SCHEMA / "check.mjs", *paths], capture_output=True, check=True)
        return json.loads(done.stdout)

    return run


def test_they_hold_grafanas_own_types(diagnose):
    assert diagnose(*(OPS / "grafana/dashboards").glob("*.json")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('"graphTooltip": 1', '"graphTooltip": 9', "Type '9' is not assignable"),
        ('"showPoints":', '"showPoint":', "'\"showPoint\"' does not exist"),
        ('"cellHeight": "sm"', '"cellHeight": "tiny"', "'\"tiny\"' is not assignable"),
    ],
    ids=["value", "word", "option"],
)
def test_grafanas_own_types_find_a_fault(diagnose, tmp_path, right, wrong, said):
    text = (OPS / "grafana/dashboards/delivery-overview.json").read_text(encoding="utf-8")
    assert right in text
    path = tmp_path / "dashboard.json"
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    assert said in "\n".join(diagnose(path))


def test_grafanas_types_are_those_of_the_grafana_that_compose_runs():
    image, _, _ = read_yaml("docker-compose.yml")["services"]["grafana"]["image"].partition("@")
    package = json.loads((SCHEMA / "package.json").read_text(encoding="utf-8"))
    assert image == f"grafana/grafana:{package['dependencies']['@grafana/schema']}"


def test_uids_are_what_they_have_always_been():
    assert set(DASHBOARDS) == {"delivery-overview", "delivery-deliverability", "delivery-engine"}


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_nothing_in_them_belongs_to_one_grafana(dashboard):
    assert {"id", "version", "__inputs"}.isdisjoint(dashboard), "numbers that Grafana gives out change in every diff"
    text = json.dumps(dashboard)
    assert "${DS_" not in text, "that is for import by hand; provisioning leaves it as it is"
    assert {panel["type"] for panel in dashboard["panels"]} <= PANEL_TYPES


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_panels_have_numbers_and_places_of_their_own(dashboard):
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken)), "no panel lies on another"
    assert max(x for x, _ in taken) < 24


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_each_leads_to_the_others(dashboard):
    others = {f"/d/{uid}" for uid in DASHBOARDS if uid != dashboard["uid"]}
    assert others <= {link["url"] for link in dashboard["links"]}


def test_a_metric_that_does_not_exist_is_an_error_when_they_are_made(build):
    with pytest.raises(LookupError, match="delivery_mesages"):
        build.to_json(
            build.Dashboard(
                "x", "x", "x", (), (build.Row("x", (build.Panel("x", "x", "s", {"x": "delivery_mesages"}),)),)
            ),
            build.surroundings(),
        )


# The linter's rules for dashboards


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
class TestDashboard:
    def test_template_datasource(self, dashboard):
        [found] = [each for each in dashboard["templating"]["list"] if each["type"] == "datasource"]
        assert (found["name"], found["label"], found["query"]) == ("datasource", "Data source", "prometheus")

    @pytest.mark.parametrize("name", ["job", "instance"])
    def test_template_job_and_instance(self, dashboard, name):
        found = variable(dashboard, name)
        assert (found.type, found.label) == ("query", name.title())
        assert found.datasource["uid"] == "${datasource}"
        assert found.multi
        assert found.allValue == ".+"

    def test_template_label_promql(self, dashboard):
        for each in dashboard["templating"]["list"]:
            if each["type"] == "query":
                assert re.fullmatch(rf"label_values\({SELECTOR.pattern}, {each['name']}\)", each["query"])

    def test_template_on_time_change_reload(self, dashboard):
        assert {each["refresh"] for each in dashboard["templating"]["list"] if each["type"] == "query"} == {2}

    def test_uneditable(self, dashboard):
        assert dashboard["editable"] is False

    def test_every_variable_that_is_used_is_there(self, dashboard):
        used = set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(dashboard)))
        assert used <= {each["name"] for each in dashboard["templating"]["list"]} | {"__rate_interval", "__range"}


# For panels


class TestPanel:
    def test_panel_datasource(self):
        with every_case() as case:
            for where, _, panel in PANELS:
                with case(where):
                    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
                    assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])

    def test_panel_title_description(self):
        with every_case() as case:
            for where, _, panel in PANELS:
                with case(where):
                    assert panel["title"]
                    assert panel["description"].endswith((".", "lists them.", "shows them."))

    def test_panel_units(self):
        with every_case() as case:
            for where, _, panel in PANELS:
                with case(where):
                    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS

    def test_panel_no_targets(self):
        with every_case() as case:
            for where, _, panel in PANELS:
                with case(where):
                    assert panel["targets"]
                    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])

    def test_leads_to_the_products_own_page(self):
        with every_case() as case:
            for where, _, panel in PANELS:
                with case(where):
                    assert any(link["url"].startswith("${page}/") for link in panel["links"])


# For queries


class TestTarget:
    @pytest.mark.parametrize("name", ["job", "instance"])
    def test_target_job_and_instance(self, name):
        with every_case() as case:
            for where, dashboard, panel, target in TARGETS:
                with case(where):
                    selectors = SELECTOR.findall(target["expr"])
                    assert selectors
                    is_there = all(f'{name}=~"${name}"' in labels for _, labels in selectors)
                    assert is_there != ((dashboard["title"], panel["title"]) in EXCLUDED[name])

    def test_target_rate_interval(self):
        with every_case() as case:
            for where, _, _, target in TARGETS:
                with case(where):
                    for function, window in re.findall(r"\b([a-z_]+)\([^()\[\]]*\[([^\]]+)\]", target["expr"]):
                        assert window == "$__rate_interval" or function not in {"rate", "irate"}, window

    def test_target_counter_agg(self):
        with every_case() as case:
            for where, _, _, target in TARGETS:
                with case(where):
                    counted = re.findall(r"\b([a-z_]+)\(delivery_[a-z_]+_total\b", target["expr"])
                    assert len(counted) == len(re.findall(r"delivery_[a-z_]+_total\b", target["expr"]))
                    assert set(counted) <= {"rate", "irate", "increase"}

    def test_series_have_names(self):
        with every_case() as case:
            for where, _, panel, target in TARGETS:
                with case(where):
                    assert target["legendFormat"]
                    named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                    groups = {
                        label.strip()
                        for found in re.findall(r"by \(([^)]*)\)", target["expr"])
                        for label in found.split(",")
                    }
                    assert named <= groups
                    if panel["type"] in {"timeseries", "bargauge"}:
                        assert groups - {"le"} == named, "two series of one name cannot be told apart"

    def test_what_every_worker_knows_whole_is_not_added_up(self):
        with every_case() as case:
            for where, _, _, target in TARGETS:
                with case(where):
                    # Their help texts say so: see docs/metrics.md.
                    for name in (
                        "delivery_pending_deliveries",
                        "delivery_oldest_in_status_seconds",
                        "delivery_provider_silent_seconds",
                    ):
                        if name in target["expr"]:
                            assert re.search(rf"max(?: by \([a-z, ]+\))? \(?\(?{name}|max\({name}", target["expr"])
                            assert not re.search(rf"sum(?: by \([a-z, ]+\))? \({name}", target["expr"])


# Runbooks


def test_every_alert_is_shown_somewhere_with_its_runbook():
    linked = {
        link["title"].removeprefix("Runbook: "): link["url"]
        for dashboard in DASHBOARDS.values()
        for panel in panels_of(dashboard)
        for link in panel["links"]
        if link["title"].startswith("Runbook: ")
    }
    assert linked == {alert["alert"]: alert["annotations"]["runbook_url"] for alert in read_alerts()}


@pytest.mark.parametrize("alert", sorted({alert["alert"] for alert in read_alerts()}))
def test_there_is_a_runbook_to_lead_to(alert):
    assert (OPS.parent / "docs/runbooks" / f"{alert}.md").is_file()


# Provisioning


def test_the_interval_of_rates_is_that_of_scrapes():
    [prometheus] = [each for each in provisioned_datasources() if each["type"] == "prometheus"]
    scrapes = read_yaml("ops/prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert prometheus["jsonData"]["timeInterval"] == scrapes
    assert prometheus["isDefault"], "dashboards choose it without being asked"


def provisioned_datasources():
    return read_yaml("ops/grafana/provisioning/datasources/prometheus.yml")["datasources"]


def test_no_datasource_holds_a_secret():
    assert all("secureJsonData" not in each for each in provisioned_datasources())
