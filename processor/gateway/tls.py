"""TLS with certificate files of one's own, which may be renewed while the server runs."""

from __future__ import annotations

import ssl
from pathlib import Path

from processor.logs import get_logger

log = get_logger(__name__)


class Tls:
    """A certificate chain with its key, in two files.

    Raises:
        OSError, ssl.SSLError: they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._seen = self._times()
        self.context = _context(*self._files)

    def renew(self) -> None:
        """Use the files as they are now, for connections from now on; those that cannot be used leave all as it was."""
        try:
            seen = self._times()
            if seen == self._seen:
                return
            # Tried on another one first: a key that does not fit would be noticed by clients only.
            _context(*self._files)
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            log.warning("certificate_unreadable", reason=str(error))
            return
        self._seen = seen
        log.info("certificate_read", certificate=str(self._files[0]))

    def _times(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in self._files)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
