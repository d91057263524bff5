"""Links: what is known of a provider's id does not depend on the order in which its links come."""

from itertools import permutations, product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.links import (
    MAX_DOUBTFUL,
    MAX_LINKS,
    MAX_MOVED,
    MAX_WAITING,
    NOTHING,
    TOLERANCE,
    Bounds,
    Correction,
    Expired,
    Known,
    Link,
    Match,
    Moved,
    Receipt,
    Step,
    expire,
    has_expired,
    join_link,
    link_of,
    native_key,
    take_link,
    take_receipt,
)

HOUR = 60 * 60 * 1_000_000


def joined(*links: Link) -> tuple[Link, ...]:
    known: tuple[Link, ...] = ()
    for link in links:
        known = join_link(known, link).links
    return known


class TestNativeKey:
    def test_names_provider_and_id(self):
        assert native_key("twilio", "", "SM01") == "twilio:SM01"

    def test_tells_accounts_apart(self):
        assert native_key("twilio", "north", "SM01") == "twilio@north:SM01"


class TestJoin:
    def test_a_link_that_is_known_is_no_news(self):
        link = Link(1, "m")
        assert join_link((link,), link) == join_link((link,), link)
        assert not join_link((link,), link).is_news

    def test_of_two_messages_at_one_time_the_smaller_id_wins_and_the_other_is_told(self):
        smaller, greater = Link(1, "a"), Link(1, "b")
        first, second = join_link((smaller,), greater), join_link((greater,), smaller)
        assert (first.links, second.links) == ((smaller,), (smaller,))
        assert (first.is_news, second.is_news) == (False, True)
        assert first.loser == second.loser == greater

    def test_two_recipients_at_one_time_do_not_contradict(self):
        one, other = Link(1, "a", "x@example.com"), Link(1, "b", "y@example.com")
        assert joined(other, one) == (one, other)

    def test_the_one_that_says_more_of_the_same_message_is_kept(self):
        more, less = Link(1, "m", delivery_id="D", part=1, parts=2), Link(1, "m")
        assert joined(more, less) == joined(less, more) == (more,)
        assert join_link((less,), more).loser is None

    def test_the_newest_are_kept(self):
        links = [Link(time, f"m{time}") for time in range(MAX_LINKS + 3)]
        assert joined(*links) == joined(*reversed(links)) == tuple(links[3:])
        assert not join_link(joined(*links), links[0]).is_news

    def test_no_order_of_up_to_four_links_matters(self):
        every = [Link(*values) for values in product((1, 2), ("a", "b"), (None, "r"), (None, "D"))]
        for first, second, third in product(every, repeat=3):
            results = {joined(*order) for order in permutations((first, second, third, first))}
            assert len(results) == 1

    @given(
        st.lists(
            st.builds(
                Link,
                st.integers(0, 12),
                st.sampled_from("abc"),
                st.sampled_from([None, "r", "s"]),
                st.sampled_from([None, "D", "E"]),
                st.sampled_from([None, 1, 2]),
            ),
            max_size=24,
        ),
        st.randoms(use_true_random=False),
    )
    def test_no_order_and_no_repetition_matters(self, links: list[Link], chance):
        again = [*links, *chance.choices(links, k=len(links))] if links else []
        chance.shuffle(again)
        assert joined(*links) == joined(*again)


class TestWhichLink:
    FIRST, SECOND = Link(10 * HOUR, "first"), Link(20 * HOUR, "second")

    @pytest.mark.parametrize(
        ("time", "expected"),
        [
            (10 * HOUR, "first"),
            (20 * HOUR - 1, "first"),
            (20 * HOUR, "second"),
            (99 * HOUR, "second"),
            # A sender's clock may be ahead of the provider's.
            (10 * HOUR - TOLERANCE, "first"),
            (10 * HOUR - TOLERANCE - 1, None),
        ],
    )
    def test_is_the_newest_that_is_not_later(self, time, expected):
        found = link_of((self.FIRST, self.SECOND), time, None)
        assert (found and found.message_id) == expected

    def test_of_those_that_are_hardly_later_it_is_the_first(self):
        near = Link(10 * HOUR + 1, "near")
        assert link_of((self.FIRST, near), 10 * HOUR - 1, None) == self.FIRST

    def test_is_none_of_another_recipient(self):
        links = (Link(1, "a", "x@example.com"), Link(2, "b", "y@example.com"))
        assert link_of(links, 3, "x@example.com") == links[0]
        assert link_of(links, 3, "z@example.com") is None

    def test_is_that_of_a_number_with_or_without_its_plus(self):
        links = (Link(1, "a", "+46701740605"), Link(2, "b", "46701740606"))
        assert link_of(links, 3, "46701740605") == links[0]
        assert link_of(links, 3, "+46701740606") == links[1]

    def test_may_be_one_of_any_recipient_where_either_names_none(self):
        one = Link(1, "a", "x@example.com")
        assert link_of((one,), 3, None) == one
        assert link_of((Link(1, "a"),), 3, "x@example.com") == Link(1, "a")

    def test_is_none_where_there_is_none(self):
        assert link_of((), 1, None) is None


def receipt(time: int, recipient: str | None = None, text: str = "") -> Receipt:
    return Receipt(time, time // 1_000, "p:1", recipient, f"{time}{text}".encode())


class World:
    """What a key's links and receipts did so far: who got which receipts, and what the provisional row shows."""

    def __init__(self):
        self.known = NOTHING
        self.got: dict[str, set[Receipt]] = {}
        self.row: set[Receipt] = set()
        #: All that the provisional row ever showed.
        self.shown: set[Receipt] = set()
        self.unmatched: list[Receipt] = []

    def take(self, given: "Link | Receipt") -> Step:
        step = take_link(self.known, given) if isinstance(given, Link) else take_receipt(self.known, given)
        for match in step.matches:
            self.got.setdefault(match.link.message_id, set()).add(match.receipt)
        for correction in step.corrections:
            self.got[correction.before.message_id].remove(correction.receipt)
            self.got.setdefault(correction.after.message_id, set()).add(correction.receipt)
        if step.moves:
            self.row.clear()
        self.row.update(step.shown)
        self.shown.update(step.shown)
        if step.unmatched is not None:
            self.unmatched.append(step.unmatched)
        self.known = step.known
        return step


class TestReceipts:
    def test_one_whose_link_is_known_goes_to_its_message(self):
        world = World()
        world.take(Link(1, "m"))
        assert world.take(receipt(5)).matches == (Match(receipt(5), Link(1, "m")),)
        assert (world.known.waiting, world.row) == ((), set())

    def test_one_without_a_link_is_shown_and_waits_once(self):
        world = World()
        assert world.take(receipt(5)).shown == (receipt(5),)
        assert world.take(receipt(5)) == Step(world.known)

    def test_a_link_takes_along_all_that_waited_and_the_row_that_showed_them(self):
        world = World()
        world.take(receipt(5))
        world.take(receipt(6))
        step = world.take(Link(1, "m"))
        assert world.got == {"m": {receipt(5), receipt(6)}}
        assert (step.moves, step.shown, world.row, world.known.waiting) == ((Moved(6, "p:1", "m"),), (), set(), ())

    def test_what_a_link_does_not_explain_is_shown_anew(self):
        world = World()
        world.take(receipt(5))
        world.take(receipt(10 * HOUR))
        assert world.take(Link(9 * HOUR, "m")).shown == (receipt(5),)
        assert world.row == {receipt(5)} == set(world.known.waiting)

    def test_an_id_that_too_many_wait_for_keeps_the_first(self):
        world = World()
        for time in range(MAX_WAITING + 1):
            world.take(receipt(time))
        assert world.unmatched == [receipt(MAX_WAITING)]
        assert len(world.known.waiting) == MAX_WAITING

    def test_two_links_of_a_moment_are_told(self):
        world = World()
        world.take(Link(1, "a"))
        assert world.take(Link(1, "b")).loser == Link(1, "b")

    @given(
        st.lists(st.integers(0, 30).map(lambda hour: receipt(hour * HOUR)), max_size=8),
        st.integers(0, 30).map(lambda hour: Link(hour * HOUR, "m")),
        st.randoms(use_true_random=False),
    )
    def test_whatever_comes_first_and_however_often_the_message_has_the_same_receipts(self, receipts, link, chance):
        given_ = [*receipts, link]
        given_ += chance.choices(given_, k=len(given_))
        chance.shuffle(given_)
        world = World()
        for each in given_:
            world.take(each)
        expected = {each for each in receipts if link_of((link,), each.time, None)}
        assert world.got.get("m", set()) == expected
        assert world.row == set(receipts) - expected == set(world.known.waiting)
        assert {each.message_id for each in world.known.moved} == ({"p:1"} if expected & world.shown else set())

    @given(
        st.lists(st.integers(0, 40).map(lambda hour: receipt(hour * HOUR)), max_size=10),
        st.lists(st.builds(Link, st.integers(0, 40).map(lambda hour: hour * HOUR), st.sampled_from("ab")), max_size=4),
        st.randoms(use_true_random=False),
    )
    def test_no_receipt_is_lost_or_told_of_twice_where_ids_are_used_again(self, receipts, links, chance):
        given_ = [*receipts, *links]
        chance.shuffle(given_)
        world = World()
        for each in given_:
            world.take(each)
        placed = [*world.known.waiting, *(each for got in world.got.values() for each in got)]
        assert set(placed) == set(receipts)
        assert world.row == set(world.known.waiting)


class TestIdsThatAreUsedAgain:
    def test_a_newer_link_takes_what_belongs_to_it_from_the_older_ones_message(self):
        world = World()
        world.take(Link(1, "old"))
        world.take(receipt(10 * HOUR))
        step = world.take(Link(9 * HOUR, "new"))
        assert step.corrections == (Correction(receipt(10 * HOUR), Link(1, "old"), Link(9 * HOUR, "new")),)
        assert world.got == {"old": set(), "new": {receipt(10 * HOUR)}}

    def test_so_does_an_older_link_from_one_that_is_later_than_the_receipt(self):
        world = World()
        world.take(Link(10 * HOUR + 5, "new"))
        world.take(receipt(10 * HOUR))
        world.take(Link(9 * HOUR, "old"))
        assert world.got == {"new": set(), "old": {receipt(10 * HOUR)}}

    def test_a_receipt_that_comes_soon_after_its_link_is_not_remembered(self):
        world = World()
        world.take(Link(HOUR, "m"))
        for time in (HOUR, HOUR + 1, HOUR + TOLERANCE):
            world.take(receipt(time))
        assert world.known.doubtful == ()

    def test_one_that_waited_and_one_that_is_repeated_are_remembered_once(self):
        world = World()
        for each in (receipt(9 * HOUR), Link(1, "old"), receipt(9 * HOUR)):
            world.take(each)
        assert world.known.doubtful == (Match(receipt(9 * HOUR), Link(1, "old")),)

    def test_the_newest_are_remembered(self):
        world = World()
        world.take(Link(1, "m"))
        for hour in range(2, MAX_DOUBTFUL + 5):
            world.take(receipt(hour * HOUR))
        assert [match.receipt.time // HOUR for match in world.known.doubtful] == [*range(5, MAX_DOUBTFUL + 5)]

    def test_that_another_link_says_the_same_corrects_nothing(self):
        world = World()
        world.take(Link(1, "m"))
        world.take(receipt(9 * HOUR))
        step = world.take(Link(8 * HOUR, "m"))
        assert step.corrections == ()

    @given(
        st.lists(st.integers(0, 60).map(lambda half: receipt(half * HOUR // 2)), max_size=12, unique=True),
        # At least two hours apart, and so each with a message of its own.
        st.sets(st.integers(0, 10).map(lambda place: place * 3 * HOUR), max_size=4),
        st.randoms(use_true_random=False),
    )
    def test_whatever_comes_first_and_however_often_each_receipt_is_with_its_newest_link(self, receipts, times, chance):
        links = sorted(Link(time, f"m{time}") for time in times)
        given_: list[Link | Receipt] = [*receipts, *links]
        given_ += chance.choices(given_, k=len(given_)) if given_ else []
        chance.shuffle(given_)
        world = World()
        for each in given_:
            world.take(each)
        expected: dict[str, set[Receipt]] = {}
        for each in receipts:
            found = link_of(links, each.time, None)
            if found is not None:
                expected.setdefault(found.message_id, set()).add(each)
        assert {name: got for name, got in world.got.items() if got} == expected
        assert world.row == set(world.known.waiting) == set(receipts).difference(*expected.values())


class TestMoves:
    def test_of_more_than_can_be_remembered_the_oldest_are_forgotten(self):
        names = [f"p:1:{number}" for number in range(MAX_MOVED + 2)]
        known = NOTHING
        forgotten = []
        for hour, name in enumerate(names, 1):
            waiting = msgspec.structs.replace(receipt(hour * HOUR), message_id=name)
            known = take_receipt(known, waiting).known
            step = take_link(known, Link(hour * HOUR - 1, "m"))
            known = step.known
            forgotten += step.forgotten
            known = msgspec.structs.replace(known, links=())
        assert [each.message_id for each in forgotten] == names[:2]
        assert [each.message_id for each in known.moved] == names[2:]

    def test_where_nothing_is_shown_nothing_moves(self):
        known = take_receipt(NOTHING, receipt(5)).known
        step = take_link(known, Link(1, "m"), is_shown=False)
        assert (step.moves, step.shown, step.known.moved, len(step.matches)) == ((), (), (), 1)


#: Milliseconds for what waits and what is in doubt; microseconds for links.
BEFORE = Bounds(5, 7, 5)


def in_order(timed: list) -> tuple:
    return tuple(sorted(timed, key=lambda each: each.time))


class TestExpire:
    def test_receipts_and_links_go_by_their_own_times(self):
        known = Known((Link(1, "a"), Link(9, "b")), (receipt(1_000), receipt(9_000)))
        assert expire(known, BEFORE) == Expired(Known((Link(9, "b"),), (receipt(9_000),)), (receipt(1_000),), ())

    def test_what_is_remembered_of_matches_and_moves_goes_too(self):
        link = Link(9, "b")
        old, new = Match(receipt(6_000), link), Match(receipt(9_000), link)
        known = Known((link,), (), (old, new), (Moved(1, "p:1", "b"), Moved(9, "p:2", "b")))
        left = Known((link,), (), (new,), (Moved(9, "p:2", "b"),))
        assert expire(known, BEFORE) == Expired(left, (), (Moved(1, "p:1", "b"),))

    def test_what_has_time_left_stays_as_it_is(self):
        link = Link(9, "b")
        known = Known((link,), (receipt(9_000),), (Match(receipt(9_000), link),), (Moved(9, "p:2", "b"),))
        assert expire(known, BEFORE) == Expired(known, (), ())
        assert not has_expired(known, BEFORE)

    @given(
        st.builds(
            Known,
            st.lists(st.builds(Link, st.integers(0, 9), st.just("m")), max_size=2).map(in_order),
            st.lists(st.integers(0, 9_000).map(receipt), max_size=2).map(tuple),
            st.lists(st.builds(Match, st.integers(0, 9_000).map(receipt), st.just(Link(0, "m"))), max_size=2).map(
                tuple
            ),
            st.lists(st.builds(Moved, st.integers(0, 9), st.just("p"), st.just("m")), max_size=2).map(in_order),
        )
    )
    def test_whether_anything_has_had_its_time_is_told_beforehand(self, known):
        assert has_expired(known, BEFORE) is (expire(known, BEFORE).known != known)
