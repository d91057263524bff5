"""Questions that many ask at the same moment are one request, and each has its own answer."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from processor.engine.together import Together
from tests.engine.partition_stand import until


class Answering:
    """Answers with what is known now; a name that is not known is an error of that name alone."""

    def __init__(self, **known: int) -> None:
        self.known, self.asked = known, []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, names: Collection[str]) -> Mapping[str, int | Exception]:
        self.asked.append(sorted(names))
        known = dict(self.known)
        await self.may_answer.wait()
        return {name: known.get(name, KeyError(name)) for name in names}


async def test_whoever_asks_at_the_same_moment_is_answered_by_one_request():
    ask = Answering(a=1, b=2)
    together = Together(ask)
    assert await asyncio.gather(together.of("a"), together.of("b"), together.of("a")) == [1, 2, 1]
    assert ask.asked == [["a", "b"]]


async def test_an_answer_is_never_older_than_its_question():
    ask = Answering(a=1)
    ask.may_answer.clear()
    together = Together(ask)
    first = asyncio.ensure_future(together.of("a"))
    await until(lambda: ask.asked)
    ask.known["a"] = 2
    second = asyncio.ensure_future(together.of("a"))
    # Nor does it wait for the answer to the first.
    await until(lambda: len(ask.asked) == 2)
    ask.may_answer.set()
    assert await asyncio.gather(first, second) == [1, 2]


async def test_what_one_is_refused_the_others_are_not():
    together = Together(Answering(a=1))
    answer, refusal = await asyncio.gather(together.of("a"), together.of("b"), return_exceptions=True)
    assert answer == 1
    assert isinstance(refusal, KeyError)


async def test_what_the_whole_request_meets_all_are_told():
    async def fails(_names: Collection[str]) -> Mapping[str, int | Exception]:
        raise OSError

    together = Together(fails)
    told = await asyncio.gather(together.of("a"), together.of("b"), return_exceptions=True)
    assert [type(each) for each in told] == [OSError, OSError]


async def test_who_leaves_takes_the_question_from_nobody():
    ask = Answering(a=1, b=2)
    together = Together(ask)
    leaves, stays = (asyncio.ensure_future(together.of(name)) for name in "ab")
    await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert await stays == 2
