"""The judge of the soak is judged itself: what stays is let pass, and what creeps is not."""

import os

import pytest

from tests.soak.footprint import Footprint, complaints, footprint_of, growth, spans_of, table

STEADY = Footprint(0, 100, 90, 80, 92, 3, 120, 0)


def spans(**changes: tuple[float, ...]) -> list[Footprint]:
    """Give a span a minute in which all is steady but what is named."""
    number = max(map(len, changes.values()))
    told = [{name: values[at] for name, values in changes.items()} for at in range(number)]
    return [STEADY._replace(seconds=60.0 * at, **each) for at, each in enumerate(told)]


def test_what_stays_is_let_pass():
    assert complaints(spans(rss_mib=(100, 102.9, 101), files=(92, 94, 93), tasks=(121, 120, 119))) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rss_mib", (100, 101, 103.1)),
        ("rss_mib", (103.1, 101, 100)),
        ("private_mib", (80, 82.5)),
        ("files", (92, 93, 95, 96)),
        ("threads", (3, 4)),
        ("tasks", (120, 121, 123, 124)),
    ],
)
def test_what_creeps_is_not(name, values):
    [complaint] = complaints(spans(**{name: values}))
    assert complaint.startswith(f"{name} ")


def test_connections_that_idled_may_be_closed_and_made_again():
    assert complaints(spans(files=(92, 67, 92, 67, 92), tasks=(249, 226, 249, 226, 250))) == []


def test_one_span_proves_nothing():
    with pytest.raises(ValueError, match="fewer than two"):
        complaints([STEADY])


def test_one_sample_among_many_decides_nothing():
    samples = [STEADY._replace(seconds=5.0 * at, rss_mib=500.0 if at == 7 else 100.0) for at in range(25)]
    assert [span.rss_mib for span in spans_of(samples, 60)] == [100, 100]


def test_a_leak_is_what_is_held_between_requests():
    samples = [STEADY._replace(seconds=5.0 * at, files=92 + at % 3, tasks=120 + at % 2) for at in range(25)]
    assert complaints(spans_of(samples, 60)) == []
    [span, *_] = spans_of(samples, 60)
    assert (span.files, span.tasks) == (92, 120)


def test_a_span_that_was_cut_short_does_not_count():
    samples = [STEADY._replace(seconds=seconds) for seconds in (0.0, 30.0, 60.0, 119.0, 120.0)]
    assert [span.seconds for span in spans_of(samples, 60)] == [0, 60]


def test_growth_is_told_by_the_hour():
    assert growth(spans(rss_mib=(100, 101, 102))) == pytest.approx(60)


def test_a_process_is_read():
    found = footprint_of(os.getpid(), 1.0, 2.0, 3.0)
    assert 5 < found.private_mib <= found.pss_mib <= found.rss_mib < 5_000
    assert found.files >= 3
    assert found.threads >= 1
    assert "2            3" in table([found])
