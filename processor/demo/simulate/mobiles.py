"""Mobile subscribers, shared by the simulated SMS providers.

Numbers are of the range that the United Kingdom's regulator keeps free for drama, so that no simulated recipient can
be anyone's. They are few: identity is the message's, never the number's.
"""

from __future__ import annotations

from random import Random


def number(rng: Random) -> str:
    """Make up a subscriber's number, in E.164 form."""
    return f"+447700900{rng.randrange(1000):03d}"
