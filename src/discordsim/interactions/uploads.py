"""Files that come with messages: kept in memory, served under `/attachments/{channel}/{id}/{name}`.

Refuses names with path separators and more than ten files or 10 MiB each, as Discord does.
"""

import json
import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from discordsim.world import errors
from discordsim.world.payloads import Json
from discordsim.world.world import World

MAX_FILES = 10
MAX_BYTES = 10 * 1024 * 1024
_UNSAFE = re.compile(r"[^\w.\-]+")


@dataclass(frozen=True, slots=True)
class Upload:
    """One file as it came: `index` is the n of `files[n]`."""

    index: str
    name: str
    content: bytes


@dataclass(slots=True)
class FileStore:
    """All uploaded files; `base_url` is set when the server knows its address."""

    world: World
    base_url: str = ""
    files: dict[tuple[int, int], tuple[str, bytes]] = field(default_factory=dict)

    def keep(self, channel_id: int, uploads: Sequence[Upload], listed: Any = None) -> list[Json]:
        """Store files and return their attachment objects; `listed` is the body's `attachments` with descriptions. Errors: 50035."""
        if len(uploads) > MAX_FILES:
            raise errors.invalid("attachments", "BASE_TYPE_MAX_LENGTH", f"Must be {MAX_FILES} or fewer in length.")
        said = {str(one.get("id")): one for one in listed or [] if isinstance(one, dict)}
        return [self._keep(channel_id, upload, said.get(upload.index, {})) for upload in uploads]

    def _keep(self, channel_id: int, upload: Upload, said: Json) -> Json:
        if len(upload.content) > MAX_BYTES:
            raise errors.DiscordError(413, 40005, "Request entity too large")
        name = _UNSAFE.sub("_", str(said.get("filename") or upload.name)) or "file"
        number = self.world.new_id()
        self.files[channel_id, number] = (name, upload.content)
        url = f"{self.base_url}/attachments/{channel_id}/{number}/{name}"
        data: Json = {"id": str(number), "filename": name, "size": len(upload.content), "url": url, "proxy_url": url}
        data["content_type"] = content_type(name)
        if said.get("description"):
            data["description"] = str(said["description"])[:1024]
        return data


def content_type(name: str) -> str:
    """Return the MIME type of a file name."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def link(value: Any, attachments: list[Json]) -> Any:
    """Return JSON with every `attachment://name` replaced by the address of the uploaded file."""
    if isinstance(value, dict):
        return {key: link(inner, attachments) for key, inner in value.items()}
    if isinstance(value, list):
        return [link(inner, attachments) for inner in value]
    if isinstance(value, str) and value.startswith("attachment://"):
        name = value.removeprefix("attachment://")
        return next((one["url"] for one in attachments if one["filename"] == name), value)
    return value


async def read_body(request: web.Request) -> tuple[Any, list[Upload]]:
    """Return the JSON of a request and its files, from `application/json` or `multipart/form-data`. Errors: 50109 for broken JSON."""
    if not request.content_type.startswith("multipart/"):
        return _json(await request.read()), []
    payload: Any = {}
    uploads: list[Upload] = []
    form = await request.post()
    for key, part in form.items():
        if isinstance(part, web.FileField):
            index = key.removeprefix("files[").removesuffix("]")
            uploads.append(Upload(index, part.filename, part.file.read()))
        elif key == "payload_json":
            payload = _json(part.encode() if isinstance(part, str) else bytes(part))  # bytes when sent with a JSON type
    return payload, uploads


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else {}
    except ValueError as error:
        raise errors.DiscordError(400, 50109, "The request body contains invalid JSON.") from error
