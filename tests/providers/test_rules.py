"""The rules that all adapters follow (docs/providers/ADDING_A_PROVIDER.md), asked of each of them."""

import ast
import json
from importlib import import_module
from pathlib import Path

import pytest

from processor.domain.event import Event
from processor.domain.status import Permanence, Status
from processor.providers import ADAPTERS, read, reasons
from processor.providers.adapter import Unreadable

SAMPLES = Path(__file__).parent / "samples"


def events_of(provider, context):
    """Give the events of all samples of a provider."""
    lines = (SAMPLES / f"{provider}.jsonl").read_text(encoding="utf-8").splitlines()
    found = [finding for line in lines for finding in read(provider, json.loads(line)["raw"], context)]
    return [finding for finding in found if isinstance(finding, Event)]


def imports_of(provider):
    """Give the names that an adapter imports."""
    source = Path(import_module(f"processor.providers.{provider}").__file__).read_text(encoding="utf-8")
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in nodes for alias in node.names}


@pytest.mark.parametrize("provider", ADAPTERS)
def test_who_reports_has_the_message(provider):
    for native, means in ADAPTERS[provider].table.items():
        if means is None:
            continue
        assert means.status is not Status.PENDING, native
        if means.permanence is Permanence.TRANSIENT:
            assert means.status is Status.TAKEN_INTO_ACCOUNT, native
        elif means.permanence is not None:
            assert means.status is Status.FAILED, native
        if native.lower().endswith("scheduled"):
            assert means == (Status.TAKEN_INTO_ACCOUNT, None, None), native


@pytest.mark.parametrize("provider", ADAPTERS)
def test_only_what_was_taken_into_account_is_still_tried(provider, context):
    for event in events_of(provider, context):
        assert event.status is not Status.PENDING
        if event.reason is not None and event.reason.permanence is Permanence.TRANSIENT:
            assert event.status is Status.TAKEN_INTO_ACCOUNT


@pytest.mark.parametrize("provider", ADAPTERS)
def test_the_kind_of_every_failure_is_decided_by_qualify(provider, context, monkeypatch):
    decided = set()

    def watched(decide):
        def decision(*arguments, **named):
            permanence, category = decide(*arguments, **named)
            decided.add(category)
            return permanence, category

        return decision

    for name in (provider, "smpp"):  # Kannel reads the receipt inside by the rules of SMPP.
        module = import_module(f"processor.providers.{name}")
        for rule in ("qualify", "qualify_by_code"):
            if hasattr(module, rule):
                monkeypatch.setattr(module, rule, watched(getattr(reasons, rule)))
    for event in events_of(provider, context):
        tried = event.reason is not None and event.reason.permanence is Permanence.TRANSIENT
        if event.status is Status.FAILED or tried:
            assert event.reason.category in decided


@pytest.mark.parametrize("provider", ADAPTERS)
def test_no_adapter_has_an_order_or_a_loop_of_its_own(provider):
    assert (
        imports_of(provider)
        & {
            "category_of",
            "permanence_of",
            "category_of_text",
            "plain_category_of",
            "correction_of",
            "ENHANCED",
            "REPLY",
            Unreadable.__name__,
        }
        == set()
    )
