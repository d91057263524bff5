"""Find messages and deliveries by a text, over all workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from processor.views.deliveries import Deliveries
from processor.views.finding import FOUND_MAX, FindList, FoundThing, Kind, Matched, each_once, find_deliveries
from processor.views.message_query import MessageQuery
from processor.web.answers import Answers
from processor.web.masking import mask_id
from processor.web.message_lists import MessageLists
from processor.web.problems import ProblemError


class Finding:
    """Finds messages and deliveries for one worker.

    Args:
        answers: knows messages by their ids.
        lists: lists messages of all workers.
        deliveries: all deliveries, as this worker has read them.
        indexed: what messages are found by, besides their ids.
    """

    def __init__(self, answers: Answers, lists: MessageLists, deliveries: Deliveries, indexed: Collection[str]) -> None:
        self._answers, self._lists, self._deliveries = answers, lists, deliveries
        self._indexed = indexed

    async def find(self, text: str, *, reveal: bool) -> FindList:
        """Find a message by its id, its provider's id or its recipient, and a delivery by its id or label.

        What is not indexed (`DELIVERY_INDEX`) finds nothing.

        Raises:
            ProblemError: it cannot be had now.
        """
        self._answers.require_deliveries()
        missing: set[int] = set()
        found = [each async for each in self._messages(text, missing, reveal=reveal)]
        found += find_deliveries(self._deliveries, text)
        return FindList(each_once(found), tuple(sorted(missing)))

    async def _messages(self, text: str, missing: set[int], *, reveal: bool) -> AsyncIterator[FoundThing]:
        try:
            named = await self._answers.named(text)
        except ProblemError as error:
            if error.kind.status != 503:
                raise
            missing.add(self._answers.partition_of(text))
            named = None
        if named is not None:
            message_id, is_linked = named
            shown = message_id if reveal else mask_id(message_id)
            matched = Matched.PROVIDER_MESSAGE_ID if is_linked else Matched.MESSAGE_ID
            yield FoundThing(Kind.MESSAGE, shown, matched, self._answers.reference(message_id, reveal=reveal))
        queries = {
            Matched.PROVIDER_MESSAGE_ID: MessageQuery(provider_message_id=text, limit=FOUND_MAX),
            Matched.RECIPIENT: MessageQuery(recipient=text, limit=FOUND_MAX),
        }
        for matched, query in queries.items():
            if matched.value not in self._indexed:
                continue
            page = await self._lists.page(query, reveal=reveal)
            missing.update(page.incomplete)
            for each in page.found:
                reference = self._answers.reference(each.message_id, reveal=reveal)
                yield FoundThing(Kind.MESSAGE, each.item.message_id, matched, reference)
