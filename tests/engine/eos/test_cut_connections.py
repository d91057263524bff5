"""Connections that break in the middle of a round, of one producer for all partitions and a pinned offset."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka.errors import ConcurrentTransactions, CoordinatorLoadInProgressError, NotCoordinatorError

from tests.engine.eos.commits import answer_to
from tests.engine.eos.stand import Stand
from tests.engine.proxy import PASSES, Answered, Api, CutAfter, CutBefore, Delayed, Fate, Late, Proxy, Repeated, Request

pytestmark = [pytest.mark.kafka, pytest.mark.trial]

#: What a round consists of.
ROUND = [Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE, Api.ADD_OFFSETS_TO_TXN, Api.TXN_OFFSET_COMMIT, Api.END_TXN]

FATES: dict[str, Callable[[], Fate]] = {
    "before": CutBefore,
    "after": CutAfter,
    "repeated": lambda: Repeated(0.05),
    "delayed": lambda: Delayed(0.2),
}


@pytest.fixture
async def proxied(kafka_broker: str) -> AsyncIterator[tuple[Proxy, Stand]]:
    async with Proxy(kafka_broker) as proxy, Stand(proxy.address) as stand:
        yield proxy, stand


def first(api: Api, fate: Fate) -> Callable[[Request], Fate]:
    """Give a judge that mistreats the first request of a kind."""
    fates = iter([fate])
    return lambda request: next(fates, PASSES) if request.api == api else PASSES


@pytest.mark.parametrize("api", ROUND, ids=lambda api: api.name.lower())
@pytest.mark.parametrize("fate", FATES)
async def test_each_round_is_there_once(proxied, api, fate):
    proxy, stand = proxied
    member, producer = await stand.join(), await stand.producer("a")
    expected: list[Any] = []
    for number in range(4):
        proxy.fate_of = first(api, FATES[fate]())
        await stand.transaction(producer, member.pin, b"%d" % number, number + 1)
        expected.append(b"%d" % number)
        assert await stand.settled_offset() == number + 1
    await stand.show(expected)
    assert {request.version for request in proxy.seen if request.api == Api.END_TXN} == {5}
    assert {request.version for request in proxy.seen if request.api == Api.TXN_OFFSET_COMMIT} == {3}


@pytest.mark.parametrize("api", [Api.TXN_OFFSET_COMMIT, Api.END_TXN], ids=lambda api: api.name.lower())
async def test_what_comes_late_changes_nothing_of_the_next_round(proxied, api):
    """It has been sent again on a new connection; the first one comes while the next round is open."""
    proxy, stand = proxied
    member, producer = await stand.join(), await stand.producer("a")
    late = Late()
    proxy.fate_of = first(api, late)
    await stand.transaction(producer, member.pin, b"1", 10)
    await producer.begin_transaction()
    await stand.write(producer, stand.changelogs, b"2")
    await late.arrives()
    await stand.move(producer, member.pin, dict.fromkeys(stand.inputs, 20))
    await producer.abort_transaction()
    assert await stand.settled_offset() == 10
    await stand.transaction(producer, member.pin, b"3", 30)
    assert await stand.settled_offset() == 30
    await stand.show([b"1", b"3"])


@pytest.mark.parametrize("error", [ConcurrentTransactions, CoordinatorLoadInProgressError, NotCoordinatorError])
async def test_a_commit_that_is_turned_away_for_now_is_sent_again(proxied, error):
    proxy, stand = proxied
    member, producer = await stand.join(), await stand.producer("a")
    turned_away: list[Request] = []

    def fate_of(request: Request) -> Fate:
        if request.api != Api.TXN_OFFSET_COMMIT or turned_away:
            return PASSES
        turned_away.append(request)
        return Answered(answer_to(request, error.errno))

    proxy.fate_of = fate_of
    await stand.transaction(producer, member.pin, b"1", 10)
    assert await stand.settled_offset() == 10
    assert proxy.count(Api.TXN_OFFSET_COMMIT) == 2
