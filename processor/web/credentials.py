"""Tell whose a token is: a user's of the file, or one of the tokens in the settings, whose users have no names."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from hashlib import sha256

from processor.settings import Settings
from processor.users import Credential, Role, User, digest_of, owner_of
from processor.web.user_file import UserFile

#: What stands for the name of whoever has one of the tokens in the settings; users' names have no spaces.
READ_TOKEN, WRITE_TOKEN = "read token", "write token"

_SECRET_BYTES = 32


class Credentials:
    """Knows users by their tokens and by their names."""

    def __init__(self, settings: Settings) -> None:
        self._file = UserFile(settings.users_file)
        self._tokens = {
            name: (Credential(User(name, role), digest_of(token)), token)
            for name, role, token in (
                (WRITE_TOKEN, Role.OPERATOR, settings.write_token),
                (READ_TOKEN, Role.READER, settings.read_token),
            )
            if token
        }
        # Of the users in the file only hashes are known, and whoever reads the file must not make sessions of them.
        self._secret = settings.workers_token.encode() or os.urandom(_SECRET_BYTES)

    def owner(self, token: str) -> User | None:
        """Return the user whose token this is; None: it is nobody's."""
        found = owner_of(token, self._all())
        return None if found is None else found.user

    def user(self, name: str) -> User | None:
        """Return the user of this name; None: nobody is called so."""
        return next((each.user for each in self._all() if each.user.name == name), None)

    def session_key(self, name: str) -> bytes | None:
        """Return the key of a user's sessions, the same on all workers; it is another once the token is another."""
        if name in self._tokens:
            return self._tokens[name][1].encode()
        digest = next((each.digest for each in self._file.credentials if each.user.name == name), None)
        if digest is None:
            return None
        return hmac.digest(self._secret, b"delivery-status user\n" + digest + name.encode(), sha256)

    def _all(self) -> Iterable[Credential]:
        # Who has a name goes by it.
        return (*self._file.credentials, *[credential for credential, _ in self._tokens.values()])
