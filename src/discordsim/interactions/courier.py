"""Signed requests from Discord to an application: Ed25519 over timestamp and raw body, a hard limit in time.

Refuses to interpret answers; it returns status, content type and body, or says that none came in time.
"""

import asyncio
from dataclasses import dataclass

import aiohttp
from nacl.signing import SigningKey

from discordsim.world.model.users import Application

ANSWER_SECONDS = 3.0
MAX_ANSWER_BYTES = 26 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the application answered over HTTP; `problem` is set when there was no answer at all."""

    status: int
    content_type: str
    body: bytes
    problem: str | None = None


class Courier:
    """Posts JSON bodies, signed with the key of an application. Owns one client session, made on first use."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the client session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self,
        application: Application,
        url: str,
        body: bytes,
        *,
        timestamp: int,
        seconds: float = ANSWER_SECONDS,
        forged: bool = False,
    ) -> Delivered:
        """Send `body`; a forged one carries the signature of a different body, as Discord's own tests of endpoints do."""
        stamp = str(timestamp).encode()
        signed = SigningKey(application.private_key).sign(stamp + body + (b" " if forged else b""))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Discord-Interactions/1.0 (+https://discord.com)",
            "X-Signature-Ed25519": signed.signature.hex(),
            "X-Signature-Timestamp": stamp.decode(),
        }
        try:
            async with asyncio.timeout(seconds):
                return await self._post(url, body, headers)
        except TimeoutError:
            return Delivered(0, "", b"", f"timeout: no answer within {seconds:g} s")
        except aiohttp.ClientError as error:
            return Delivered(0, "", b"", f"unreachable: {type(error).__name__}")

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Delivered:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            raw = await answer.content.read(MAX_ANSWER_BYTES)
            return Delivered(answer.status, answer.content_type, raw)
