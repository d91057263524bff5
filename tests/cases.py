"""Many small cases in one test: each is tried, and all that fail are told by name.

A test of its own costs two milliseconds, whatever it tries: thousands of rows of tables would cost more by their number
than by what is asked of them. Cases that need a fixture each, or take long, stay tests of their own.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


@contextmanager
def every_case() -> Iterator[Callable[[str], AbstractContextManager[None]]]:
    """Give what tries a case of this name; fail at the end when any case did, or when there was none."""
    tried, failed = 0, []

    @contextmanager
    def case(name: str) -> Iterator[None]:
        nonlocal tried
        tried += 1
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            failed.append(f"{name}\n{_told(error)}")

    yield case
    assert tried, "there are no cases"
    if failed:
        pytest.fail(f"{len(failed)} of {tried} cases:\n\n" + "\n\n".join(failed), pytrace=False)


def _told(error: BaseException) -> str:
    """Give the lines that led to it, but for those of this file, and what it says."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    places = "".join(f"    {Path(frame.filename).name}:{frame.lineno}: {frame.line}\n" for frame in frames)
    return f"{places}    {type(error).__name__}: " + str(error).replace("\n", "\n    ")
