"""Signing out at every worker: the worker that is asked ends the session, and tells the others."""

from __future__ import annotations

import msgspec

from processor.logs import get_logger
from processor.web.access import Access
from processor.web.forwarding import Forwarding
from processor.web.problems import ProblemError
from processor.web.sessions import ENDED_PATH, Ended, Session

log = get_logger(__name__)


async def end_everywhere(session: Session, access: Access, forwarding: Forwarding) -> None:
    """End a session at this worker and the others; a worker that cannot be told keeps it until it runs out."""
    access.end_session(session.number, session.given)
    ended = msgspec.json.encode(Ended(session.number, session.given))
    try:
        await forwarding.ask_all(ENDED_PATH, "POST", ended)
    except ProblemError as error:
        log.warning("sign_out_not_told", error=str(error))
