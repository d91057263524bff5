"""The answers that API and page both get: typed views, the same whichever worker is asked."""

from types import SimpleNamespace

import pytest

from processor.domain.delivery import Action, Cause, State
from processor.domain.status import Channel, Status
from processor.views.listing import Query
from processor.views.messages import MessageView
from processor.web.list_query import list_query
from processor.web.owner import rows_of
from processor.web.problems import DELIVERY_NOT_KNOWN, MESSAGE_NOT_KNOWN, NO_EFFECT, STARTING, ProblemError
from processor.wire.control import decode_control
from tests.web.workers import OwnerInMemory, Work, rows, workers


@pytest.fixture
async def worker():
    async with workers() as [one]:
        yield one


async def kind_of(question):
    with pytest.raises(ProblemError) as problem:
        await question
    return problem.value.kind


@pytest.mark.parametrize("reveal", [False, True])
async def test_a_message_is_the_same_view_from_its_owner_and_over_a_hop(reveal):
    async with workers(3) as made:
        for key in rows():
            views = [await each.answers.message(key.decode(), reveal=reveal) for each in made]
            assert isinstance(views[0], MessageView)
            assert views[0] == views[1] == views[2]


@pytest.mark.parametrize("provisional", ["twilio:SM01", "twilio@north:SM02"])
async def test_a_providers_id_leads_to_its_message_from_any_worker(provisional):
    async with workers(3) as made:
        views = [await each.answers.message(provisional, reveal=True) for each in made]
        assert [view.message_id for view in views] == ["s-1"] * 3


@pytest.mark.parametrize("provisional", ["twilio:SM99", "twilio:SM03", "twilio:", "nobody:SM01", "twilio"])
async def test_a_providers_id_without_a_link_is_not_known(provisional):
    async with workers(3) as made:
        for each in made:
            assert await kind_of(each.answers.message(provisional, reveal=False)) is MESSAGE_NOT_KNOWN


async def test_a_recipient_is_masked_unless_it_is_to_be_revealed(worker):
    assert (await worker.answers.message("m-1", reveal=False)).recipient == "u***@example.com"
    assert (await worker.answers.message("m-1", reveal=True)).recipient == "ulla.b@example.com"


async def test_what_nothing_has_named_is_not_known(worker):
    assert await kind_of(worker.answers.message("nobody", reveal=False)) is MESSAGE_NOT_KNOWN
    assert await kind_of(worker.answers.delivery("nothing")) is DELIVERY_NOT_KNOWN
    assert await kind_of(worker.answers.steer("nothing", Action.CANCEL)) is DELIVERY_NOT_KNOWN
    assert worker.published == []


async def test_a_worker_that_is_still_reading_knows_no_delivery(worker):
    worker.following.is_caught_up = False
    answers = worker.answers
    for question in (answers.delivery("DM1"), answers.deliveries(Query()), answers.overview()):
        assert await kind_of(question) is STARTING


@pytest.mark.parametrize("action", [Action.PAUSE, Action.FINISH, Action.CANCEL])
async def test_what_is_done_with_a_delivery_is_published(worker, action):
    await worker.answers.steer("DM1", action)
    [record] = worker.published
    assert (record.key, decode_control(record.value, None).action) == (b"DM1", action)


@pytest.mark.parametrize(
    ("delivery", "action"), [("DM1", Action.RESUME), ("DM2", Action.PAUSE), ("DM2", Action.FINISH)]
)
async def test_what_would_have_no_effect_is_refused(worker, delivery, action):
    assert await kind_of(worker.answers.steer(delivery, action)) is NO_EFFECT
    assert worker.published == []


async def test_whoever_is_not_sure_of_a_cancel_says_it_again(worker):
    await worker.answers.steer("DM2", Action.CANCEL)
    assert [record.key for record in worker.published] == [b"DM2"]


class TestRows:
    def test_are_those_of_an_owned_partition(self):
        owner = OwnerInMemory(works={3: Work(rows())})
        assert rows_of(owner, 3).row(b"m-1") == rows()[b"m-1"]
        assert rows_of(owner, 4) is None

    def test_are_not_those_of_a_partition_that_recovers(self):
        assert rows_of(OwnerInMemory(works={3: Work(rows())}, recovering={3}), 3) is None

    def test_are_not_those_of_work_without_rows(self):
        assert rows_of(OwnerInMemory(works={3: SimpleNamespace()}), 3) is None


class TestQuery:
    def test_has_what_was_given_by_type(self):
        given = {"channel": "sms", "status": "sent", "state": "running", "stuck": "true", "limit": "25"}
        query = list_query({**given, "pending": "scheduled"})
        assert (query.channel, query.status, query.state) == (Channel.SMS, Status.SENT, State.RUNNING)
        assert (query.stuck, query.limit, query.pending) == (True, 25, Cause.SCHEDULED.value)

    def test_else_asks_for_all(self):
        assert list_query({}) == Query()

    @pytest.mark.parametrize("given", [{"colour": "red"}, {"limit": "0"}, {"sort": "colour"}, {"state": "gone"}])
    def test_is_refused_where_a_parameter_does_not_take_it(self, given):
        with pytest.raises(ProblemError):
            list_query(given)
