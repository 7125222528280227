"""Message bodies as applications send them in answers and follow-ups: checked strictly and turned into drafts or changes.

Refuses to store anything; files were taken in before (see `uploads`) and arrive as finished attachment objects.
"""

from typing import Any

from discordsim.interactions import components, forms
from discordsim.world import errors
from discordsim.world.model.messages import Draft, MessageFlag
from discordsim.world.payloads import Json

SETTABLE = int(
    MessageFlag.EPHEMERAL
    | MessageFlag.SUPPRESS_EMBEDS
    | MessageFlag.SUPPRESS_NOTIFICATIONS
    | MessageFlag.IS_COMPONENTS_V2
    | MessageFlag.IS_VOICE_MESSAGE
)
_FIELDS = frozenset(
    {
        "content",
        "embeds",
        "components",
        "flags",
        "allowed_mentions",
        "tts",
        "attachments",
        "poll",
        "username",
        "avatar_url",
        "thread_name",
        "applied_tags",
        "nonce",
        "enforce_nonce",
    }
)
MAX_EMBED_TEXT = 6000


def check_flags(value: Any, path: str = "flags") -> int:
    """Return message flags or raise 50035 for bits an application cannot set."""
    flags = forms.maybe_whole(value, path, low=0, high=2**31 - 1) or 0
    if flags & ~SETTABLE:
        raise errors.invalid(path, "MESSAGE_FLAGS_INVALID", f"Flags {flags & ~SETTABLE} cannot be set here.")
    return flags


def parse_draft(value: Any, *, attachments: list[Json]) -> Draft:
    """Return the draft of a new message or raise 50035, 50006."""
    body = forms.mapping(value if value is not None else {}, "data", known=_FIELDS)
    flags = check_flags(body.get("flags"))
    _refuse_legacy_with_v2(body, v2=bool(flags & MessageFlag.IS_COMPONENTS_V2))
    return Draft(
        content=forms.maybe_text(body.get("content"), "content", high=2000) or "",
        embeds=check_embeds(body.get("embeds")),
        components=components.check_message(body.get("components"), v2=bool(flags & MessageFlag.IS_COMPONENTS_V2)),
        flags=flags,
        allowed_mentions=check_mentions(body.get("allowed_mentions")),
        tts=forms.maybe_flag(body.get("tts"), "tts"),
        attachments=attachments,
        poll=None if body.get("poll") is None else forms.mapping(body["poll"], "poll"),
    )


def parse_changes(value: Any, *, flags: int, uploaded: list[Json], present: list[Json]) -> Json:
    """Return the changes of an edit for `posting.edit`; `flags` and `present` are the message's own flags and attachments."""
    body = forms.mapping(value if value is not None else {}, "data", known=_FIELDS)
    wanted = check_flags(body.get("flags"))
    v2 = bool((flags | wanted) & MessageFlag.IS_COMPONENTS_V2)
    _refuse_legacy_with_v2(body, v2=v2)
    changes: Json = {}
    if "content" in body:
        changes["content"] = forms.maybe_text(body["content"], "content", high=2000)
    if "embeds" in body:
        changes["embeds"] = check_embeds(body["embeds"])
    if "components" in body:
        changes["components"] = components.check_message(body["components"], v2=v2) if body["components"] else []
    if "allowed_mentions" in body:
        changes["allowed_mentions"] = check_mentions(body["allowed_mentions"])
    if "flags" in body:
        changes["flags"] = wanted & ~MessageFlag.EPHEMERAL
    if uploaded or "attachments" in body:
        changes["attachments"] = _kept(body.get("attachments"), present, everything="attachments" not in body)
        changes["attachments"] += uploaded
    return changes


def _kept(listed: Any, present: list[Json], *, everything: bool) -> list[Json]:
    if everything:
        return list(present)
    wanted = {str(forms.mapping(one, "attachments").get("id")) for one in forms.sequence(listed, "attachments")}
    return [one for one in present if one["id"] in wanted]


def _refuse_legacy_with_v2(body: Json, *, v2: bool) -> None:
    for name in ("content", "embeds", "poll"):
        if v2 and body.get(name):
            text = f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            raise errors.invalid(name, "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", text)


def check_mentions(value: Any) -> Json | None:
    """Return an allowed mentions object or raise 50035."""
    if value is None:
        return None
    body = forms.mapping(value, "allowed_mentions", known=("parse", "users", "roles", "replied_user"))
    parse = forms.sequence(body.get("parse"), "allowed_mentions.parse", high=3)
    for index, one in enumerate(parse):
        if one not in {"users", "roles", "everyone"}:
            raise errors.invalid(f"allowed_mentions.parse.{index}", "BASE_TYPE_CHOICES", f"Unknown kind {one!r}.")
    for kind in ("users", "roles"):
        listed = forms.sequence(body.get(kind), f"allowed_mentions.{kind}", high=100)
        for index, one in enumerate(listed):
            forms.snowflake(one, f"allowed_mentions.{kind}.{index}")
        if listed and kind in parse:
            text = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            raise errors.invalid("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", text)
    forms.maybe_flag(body.get("replied_user"), "allowed_mentions.replied_user")
    return body


def check_embeds(value: Any) -> list[Json]:
    """Return at most ten embeds with at most 6000 characters in all, or raise 50035."""
    found = forms.sequence(value, "embeds", high=10)
    if sum(_check_embed(one, f"embeds.{index}") for index, one in enumerate(found)) > MAX_EMBED_TEXT:
        text = f"Embed size exceeds maximum size of {MAX_EMBED_TEXT}"
        raise errors.invalid("embeds", "MAX_EMBED_SIZE_EXCEEDED", text)
    return found


def _check_embed(value: Any, path: str) -> int:
    """Return the number of characters that count towards the limit."""
    embed = forms.mapping(value, path)
    texts = [
        forms.maybe_text(embed.get("title"), f"{path}.title", high=256),
        forms.maybe_text(embed.get("description"), f"{path}.description", high=4096),
    ]
    forms.maybe_whole(embed.get("color"), f"{path}.color", low=0, high=0xFFFFFF)
    for key in ("image", "thumbnail", "video"):
        if embed.get(key) is not None:
            media = forms.mapping(embed[key], f"{path}.{key}")
            forms.url(media.get("url"), f"{path}.{key}.url", schemes=("http://", "https://", "attachment://"))
    for key, name, high in (("footer", "text", 2048), ("author", "name", 256)):
        if embed.get(key) is not None:
            inner = forms.mapping(embed[key], f"{path}.{key}")
            texts.append(forms.text(inner.get(name), f"{path}.{key}.{name}", low=1, high=high))
    for index, one in enumerate(forms.sequence(embed.get("fields"), f"{path}.fields", high=25)):
        field = forms.mapping(one, f"{path}.fields.{index}", known=("name", "value", "inline"))
        texts.append(forms.text(field.get("name"), f"{path}.fields.{index}.name", low=1, high=256))
        texts.append(forms.text(field.get("value"), f"{path}.fields.{index}.value", low=1, high=1024))
    return sum(len(one) for one in texts if one)
