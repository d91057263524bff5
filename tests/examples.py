"""How many examples a property is tried on: all of them in `make test`, a few in `make quick`."""

import os

#: What part of the examples is tried; `make quick` says 0.1.
PART = float(os.environ.get("PART_OF_EXAMPLES", "1"))


def examples(number: int) -> int:
    """Give how many of so many examples to try: never none."""
    return max(1, round(number * PART))
