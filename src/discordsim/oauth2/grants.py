"""Codes and tokens of OAuth2: single-use codes (ten minutes) and refresh tokens, access tokens for a week, PKCE with S256.

Refuses to know HTTP. Errors carry RFC 6749's short names. Secrets derive from the world's seed and a counter.
"""

import base64
import hashlib
from dataclasses import dataclass, field

from discordsim.world.model.users import Application
from discordsim.world.world import World

CODE_SECONDS = 600.0
TOKEN_SECONDS = 604_800.0


class GrantError(Exception):
    """A refused token request; the text is RFC 6749's `error`."""


@dataclass(frozen=True, slots=True)
class Code:
    """What the user agreed to, waiting to be exchanged."""

    application_id: int
    user_id: int
    scopes: tuple[str, ...]
    redirect_uri: str
    challenge: str | None
    expires: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """An access token with its refresh token; `expires` in unix seconds of the world."""

    access: str
    refresh: str
    application_id: int
    user_id: int
    scopes: tuple[str, ...]
    expires: float


@dataclass(slots=True)
class Grants:
    """All codes and tokens of a world."""

    world: World
    codes: dict[str, Code] = field(default_factory=dict)
    access: dict[str, Tokens] = field(default_factory=dict)
    refresh: dict[str, Tokens] = field(default_factory=dict)
    _issued: int = 0

    def _secret(self) -> str:
        self._issued += 1
        digest = hashlib.sha256(f"{self.world.seed}/oauth2/{self._issued}".encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")[:30]

    def authorize(
        self, application_id: int, user_id: int, scopes: tuple[str, ...], redirect_uri: str, challenge: str | None
    ) -> str:
        """Return a code for what the user agreed to."""
        code = self._secret()
        expires = self.world.now() + CODE_SECONDS
        self.codes[code] = Code(application_id, user_id, scopes, redirect_uri, challenge, expires)
        return code

    def exchange(self, application: Application, code: str, redirect_uri: str, verifier: str | None) -> Tokens:
        """Return tokens for a code, once. Errors: invalid_grant."""
        found = self.codes.pop(code, None)
        if found is None or found.application_id != application.id or found.expires < self.world.now():
            raise GrantError("invalid_grant")
        if found.redirect_uri != redirect_uri or not _proven(found.challenge, verifier):
            raise GrantError("invalid_grant")
        return self._issue(application.id, found.user_id, found.scopes)

    def renew(self, application: Application, token: str) -> Tokens:
        """Return new tokens for a refresh token, once; the old access token ends. Errors: invalid_grant."""
        found = self.refresh.get(token)
        if found is None or found.application_id != application.id:
            raise GrantError("invalid_grant")
        self._drop(found)
        return self._issue(application.id, found.user_id, found.scopes)

    def revoke(self, application: Application, token: str) -> None:
        """End a token and its sibling; unknown ones are ignored, as RFC 7009 asks."""
        found = self.access.get(token) or self.refresh.get(token)
        if found is not None and found.application_id == application.id:
            self._drop(found)

    def find(self, token: str) -> Tokens | None:
        """Return the tokens behind a valid access token."""
        found = self.access.get(token)
        return found if found is not None and found.expires > self.world.now() else None

    def _issue(self, application_id: int, user_id: int, scopes: tuple[str, ...]) -> Tokens:
        expires = self.world.now() + TOKEN_SECONDS
        made = Tokens(self._secret(), self._secret(), application_id, user_id, scopes, expires)
        self.access[made.access] = self.refresh[made.refresh] = made
        return made

    def _drop(self, tokens: Tokens) -> None:
        self.access.pop(tokens.access, None)
        self.refresh.pop(tokens.refresh, None)


def _proven(challenge: str | None, verifier: str | None) -> bool:
    if challenge is None:
        return True
    digest = hashlib.sha256((verifier or "").encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=") == challenge
