"""What a stage declares binds its work: topics that it may write to, and state that is restored."""

import pytest

from processor.engine.stage import Outbox, Partitioning, Stage, UndeclaredTopicError, close, suspend
from processor.metrics import Metrics
from processor.settings import Settings
from processor.stages import stages
from processor.wire.topics import COUNTS, EVENTS, MESSAGES, MTA, TOPICS
from tests.engine.fakes import Stateless, Works

PLACE = Partitioning("t.events.v1", 0, {"t.events.v1": 1}, "cluster")


# Topics


def test_an_outbox_refuses_a_topic_that_its_stage_does_not_declare():
    outbox = Outbox(0, topics=["t.messages.v1"])
    outbox.add("t.messages.v1", 0, 0, b"key", b"value")
    for write in (outbox.to, lambda *place: outbox.add(*place, 0, b"key", b"value")):
        with pytest.raises(UndeclaredTopicError, match=r"t\.counts\.v1"):
            write("t.counts.v1", 0)
    assert set(outbox.records) == {("t.messages.v1", 0)}


def test_every_stage_declares_its_changelog_and_ledger_as_outputs():
    for stage in stages(Settings(), Metrics(["normalize", "control", "fold"])):
        assert all(topic in stage.outputs for topic in (stage.changelog, stage.ledger) if topic is not None)


def test_no_stage_declares_an_output_of_the_live_group():
    for declared in ({"outputs": (MESSAGES.of_live(),)}, {"outputs": (), "changelog": MESSAGES.of_live()}):
        with pytest.raises(UndeclaredTopicError, match=r"messages\.v1 of the live group"):
            Stage(name="fold", inputs=(EVENTS,), start=lambda _: Stateless(), **declared)


# State


@pytest.mark.parametrize("declared", [{"changelog": MESSAGES}, {"changelog": MESSAGES, "ledger": COUNTS}])
def test_a_stage_with_a_changelog_starts_no_work_that_restores_nothing(declared):
    stage = Stage(name="fold", inputs=(EVENTS,), outputs=(), start=lambda _: Stateless(), **declared)
    with pytest.raises(TypeError, match="restores nothing"):
        stage.start_work(PLACE)


def test_a_stage_with_a_ledger_starts_no_work_that_restores_only_its_changelog():
    work = Works()
    stage = Stage(name="fold", inputs=(EVENTS,), outputs=(), start=lambda _: work, changelog=MESSAGES)
    assert stage.start_work(PLACE) is work
    stage = Stage(name="fold", inputs=(EVENTS,), outputs=(), start=lambda _: work, changelog=MESSAGES, ledger=COUNTS)
    with pytest.raises(TypeError, match="ledger"):
        stage.start_work(PLACE)


def test_the_product_s_stages_start_works_that_fit_what_they_declare():
    settings = Settings()
    counts = {settings.topic(topic): 1 for topic in TOPICS}
    for stage in stages(settings, Metrics(["normalize", "control", "fold"])):
        stage.start_work(Partitioning(settings.topic(stage.inputs[0]), 0, counts, "cluster"))


def test_work_in_memory_is_kept_when_it_is_suspended_and_closed_when_it_is_not_resumed():
    work = Works()
    assert suspend(work) is work
    close(work)
    assert work.told == ["suspended", "closed"]


def test_work_on_disk_is_closed_when_it_is_suspended_for_who_opens_it_next():
    work = Works(is_durable=True)
    assert suspend(work) is None
    assert work.told == ["suspended", "closed"]


def test_work_without_state_is_kept_as_it_is():
    work = Stateless()
    assert suspend(work) is work
    close(work)


def test_a_stage_without_state_needs_no_more_than_every_work_has():
    stage = Stage(name="normalize", inputs=(MTA,), outputs=(EVENTS,), start=lambda _: Stateless())
    assert isinstance(stage.start_work(PLACE), Stateless)
