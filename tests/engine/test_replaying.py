"""Dead letters in batches of which each fits into one transaction, whatever in them is large."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from processor.engine.replaying import _BYTES_MAX, in_batches
from processor.wire.deadletters import Headers


class Letter(NamedTuple):
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = ()


async def sizes(*letters: Letter, most: int = 3) -> list[int]:
    """Give how many letters each batch has."""

    async def come() -> AsyncIterator[Letter]:
        for letter in letters:
            yield letter

    return [len(batch) async for batch in in_batches(come(), most)]


async def test_a_batch_has_so_many_letters_at_most():
    assert await sizes(*[Letter()] * 7) == [3, 3, 1]
    assert await sizes() == []


async def test_keys_and_headers_take_room_as_values_do():
    large = bytes(_BYTES_MAX // 2 + 1)
    for letter in (Letter(key=large), Letter(value=large), Letter(headers=(("h", large),))):
        assert await sizes(Letter(), letter, letter, Letter()) == [2, 2]


async def test_one_that_is_too_large_goes_alone():
    assert await sizes(Letter(), Letter(value=bytes(_BYTES_MAX + 1)), Letter()) == [1, 1, 1]
