"""Settings: typed groups that are read from the environment once, at the start of a process.

Every field carries its environment name, its sentence and its unit in the annotation; `docs/reference/settings.md` is generated
from them and a test keeps it complete. A missing or malformed value and an unknown `MODBOT_*` name stop the start with one
sentence. Secrets are of a type that does not print. This module never reads a file and never writes to the environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import msgspec

from modbot.domain.errors import SettingsError

PREFIX = "MODBOT_"
_WEAK_SECRETS = frozenset({"", "changeme", "change-me", "secret", "password", "default", "test", "dev"})
_SHORTEST_SECRET = 16
_T = TypeVar("_T", bound=msgspec.Struct)


class Secret:
    """A value that never prints: `repr`, `str`, logs and errors show stars; `reveal()` gives it to the one who needs it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Env:
    """How a field is called in the environment, and what an operator should know about it."""

    name: str
    doc: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the settings reference."""

    env: Env
    group: str
    type_name: str
    default: Any
    required: bool
    secret: bool


class EntrySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `modbot` reads when it is called without a verb, as the images call it."""

    service_mode: Annotated[
        str,
        Env(
            "SERVICE_MODE",
            "The service to run: `http`, `config`, `gateway` or `single`. Empty or unknown: usage, exit code 2.",
        ),
    ] = ""


class CommonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every process reads."""

    internal_token: Annotated[
        Secret,
        Env("MODBOT_INTERNAL_TOKEN", "Shared secret of the internal calls between http, config and gateway pods."),
    ]
    log_format: Annotated[
        str, Env("MODBOT_LOG_FORMAT", "`json` for machines, `console` for a desk. JSON is what log collectors expect.")
    ] = "json"
    log_level: Annotated[str, Env("MODBOT_LOG_LEVEL", "`debug`, `info`, `warning` or `error`.")] = "info"


class DiscordSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach Discord and who we are there. The names are those of the existing `modbot-env` secret."""

    token: Annotated[Secret, Env("DISCORD_HASH", "The bot token.")]
    application_id: Annotated[int, Env("DISCORD_APP_ID", "The application's id.")]
    api_url: Annotated[
        str, Env("MODBOT_DISCORD_API_URL", "Base address of Discord's HTTP API; the simulator's in `modbot dev`.")
    ] = "https://discord.com/api/v10"
    gateway_url: Annotated[
        str,
        Env("MODBOT_DISCORD_GATEWAY_URL", "Address of Discord's gateway; the simulator's in `modbot dev`."),
    ] = "wss://gateway.discord.gg"
    compression: Annotated[
        str,
        Env(
            "MODBOT_GATEWAY_COMPRESSION", "`zstd-stream`, `zlib-stream` or `none`. zstd costs the least time per event."
        ),
    ] = "zstd-stream"
    message_content: Annotated[
        bool,
        Env(
            "MODBOT_MESSAGE_CONTENT",
            "Ask for the privileged message-content intent. Without it modbot works with less.",
        ),
    ] = True


_DatabaseUrl = Annotated[
    Secret, Env("DATABASE_URL", "PostgreSQL connection address, `postgresql://user:password@host/db`.")
]
_ShardCount = Annotated[
    int,
    Env(
        "MODBOT_SHARD_COUNT",
        "Number of formula shards, fixed when the database is first set up. 16 serves 40,000 guilds.",
    ),
]


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As much of the config service's settings as its database needs."""

    database_url: _DatabaseUrl
    shard_count: _ShardCount = 16


class ConfigSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The config service."""

    common: CommonSettings
    database_url: _DatabaseUrl
    host: Annotated[str, Env("MODBOT_CONFIG_HOST", "Address to listen on.")] = "0.0.0.0"  # noqa: S104 - a pod listens on its pod address
    port: Annotated[int, Env("MODBOT_CONFIG_PORT", "Port to listen on.")] = 3001
    shard_count: _ShardCount = 16
    lease_ttl: Annotated[
        float,
        Env(
            "MODBOT_LEASE_TTL", "How long a pod may act without a renewal. Four times the renewal interval.", "seconds"
        ),
    ] = 6.0
    placement_settle: Annotated[
        float,
        Env(
            "MODBOT_PLACEMENT_SETTLE",
            "How long the youngest pod must have been there before shards without an owner are given out, so that pods that start together share them.",
            "seconds",
        ),
    ] = 2.0
    identify_reserve: Annotated[
        int,
        Env("MODBOT_IDENTIFY_RESERVE", "IDENTIFYs of the daily budget that only recovery may use."),
    ] = 200
    rest_per_second: Annotated[
        int, Env("MODBOT_REST_PER_SECOND", "REST requests that all pods share; Discord allows 50 per bot.", "1/s")
    ] = 45


class ReplicaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where replicas of the shard files are kept. With neither a store nor a bucket there are none, and a shard waits for its pod."""

    store: Annotated[
        str,
        Env(
            "MODBOT_REPLICA_STORE",
            "`file:///folder` or `s3://bucket/prefix?endpoint=…&region=…&forcePathStyle=true`. Empty: the store that `LITESTREAM_BUCKET` names, or none.",
        ),
    ] = ""
    bucket: Annotated[
        str,
        Env(
            "LITESTREAM_BUCKET",
            "Bucket of the store, in place of `MODBOT_REPLICA_STORE`; shards are kept under `modbot/`.",
        ),
    ] = ""
    endpoint: Annotated[str, Env("LITESTREAM_ENDPOINT", "Address of the S3 service of `LITESTREAM_BUCKET`.")] = ""
    region: Annotated[str, Env("LITESTREAM_REGION", "Region of `LITESTREAM_BUCKET`.")] = ""
    access_key_id: Annotated[
        Secret,
        Env(
            "LITESTREAM_ACCESS_KEY_ID",
            "Key of the store. Without it the usual places are asked (`AWS_ACCESS_KEY_ID`, the role of the pod).",
        ),
    ] = Secret("")
    secret_access_key: Annotated[Secret, Env("LITESTREAM_SECRET_ACCESS_KEY", "The secret of that key.")] = Secret("")
    socket: Annotated[
        str,
        Env(
            "MODBOT_LITESTREAM_SOCKET",
            "Control socket of the Litestream sidecar. Empty: `litestream.sock` in `MODBOT_DATA_DIR`; `modbot single` then brings its own sidecar along.",
        ),
    ] = ""
    program: Annotated[
        str, Env("MODBOT_LITESTREAM_BIN", "The program that restores a shard; Litestream 0.5.17 or newer.")
    ] = "litestream"
    keep_epochs: Annotated[
        int,
        Env("MODBOT_REPLICA_KEEP_EPOCHS", "How many epochs of a shard are kept at least, the present one included."),
    ] = 3
    keep_hours: Annotated[
        float,
        Env(
            "MODBOT_REPLICA_KEEP_HOURS",
            "An epoch that was written to within this time is kept in any case.",
            "hours",
        ),
    ] = 24.0


class GatewaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A gateway pod."""

    common: CommonSettings
    discord: DiscordSettings
    replicas: ReplicaSettings
    pod_name: Annotated[
        str, Env("POD_NAME", "The pod's stable name, such as `gateway-0`; from `metadata.name` in Kubernetes.")
    ]
    data_dir: Annotated[str, Env("MODBOT_DATA_DIR", "Folder of the shard files; the pod's own volume.")] = "/data"
    config_url: Annotated[str, Env("MODBOT_CONFIG_URL", "Address of the config service.")] = (
        "http://config-service:3001"
    )
    host: Annotated[str, Env("MODBOT_GATEWAY_HOST", "Address to listen on.")] = "0.0.0.0"  # noqa: S104 - a pod listens on its pod address
    port: Annotated[int, Env("MODBOT_GATEWAY_PORT", "Port of the internal API.")] = 3000
    advertised_url: Annotated[
        str,
        Env(
            "MODBOT_ADVERTISED_URL",
            "Address under which http pods and peers reach this pod. Empty: `http://POD_NAME.gateway-internal:PORT`.",
        ),
    ] = ""
    capacity: Annotated[int, Env("MODBOT_CAPACITY", "The most shards this pod accepts.")] = 64
    drain_limit: Annotated[
        float,
        Env(
            "MODBOT_DRAIN_LIMIT",
            "How long a pod that got SIGTERM hands its shards to its peers before it stops and keeps the rest. Kubernetes' grace period must be longer.",
            "seconds",
        ),
    ] = 40.0
    labels: Annotated[
        str,
        Env(
            "MODBOT_POD_LABELS",
            "Labels of the pod, `zone=a,track=canary`, to which shards can be pinned. None: the pod can still be named.",
        ),
    ] = ""
    egress: Annotated[
        str,
        Env(
            "MODBOT_EGRESS",
            "Name of the address from which requests leave; pods behind one NAT share a name and so the invalid-request counter.",
        ),
    ] = "default"
    failsafe: Annotated[
        bool,
        Env(
            "MODBOT_FAILSAFE",
            "Go on after the lease while all peers agree that nobody reaches the config service. Off: effects wait for it.",
        ),
    ] = True


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An http pod."""

    common: CommonSettings
    application_id: Annotated[int, Env("DISCORD_APP_ID", "The application's id.")]
    public_key: Annotated[
        str, Env("DISCORD_PUBLIC_KEY", "The application's Ed25519 public key, 64 hexadecimal digits.")
    ]
    client_secret: Annotated[Secret, Env("DISCORD_SECRET", "The OAuth2 client secret, for signing in to the portal.")]
    session_secret: Annotated[
        Secret,
        Env("SESSION_SECRET", "Encrypts the portal's cookies. At least 16 characters, 32 random bytes are right."),
    ]
    config_url: Annotated[str, Env("MODBOT_CONFIG_URL", "Address of the config service.")] = (
        "http://config-service:3001"
    )
    host: Annotated[str, Env("MODBOT_HTTP_HOST", "Address to listen on.")] = "0.0.0.0"  # noqa: S104 - a pod listens on its pod address
    port: Annotated[int, Env("MODBOT_HTTP_PORT", "Port to listen on.")] = 3000
    reuse_port: Annotated[
        bool,
        Env(
            "MODBOT_HTTP_REUSE_PORT",
            "Share the port with other http processes of this machine (`modbot dev` runs two).",
        ),
    ] = False
    interaction_deadline: Annotated[
        float,
        Env(
            "MODBOT_INTERACTION_DEADLINE",
            "After this time an interaction is answered with its declared deferral; Discord waits 3 s.",
            "seconds",
        ),
    ] = 2.0


class SingleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`modbot single`: the settings of the three services that it runs."""

    common: CommonSettings
    config: ConfigSettings
    gateway: GatewaySettings
    http: HttpSettings


GROUPS: tuple[type[msgspec.Struct], ...] = (
    EntrySettings,
    CommonSettings,
    DiscordSettings,
    ConfigSettings,
    GatewaySettings,
    ReplicaSettings,
    HttpSettings,
)


def load(group: type[_T], environ: Mapping[str, str]) -> _T:
    """Read a group from the environment; `SettingsError` names the first variable that is missing, malformed or unknown."""
    for sentence in _unknown(environ):
        raise SettingsError(sentence)
    return _load(group, environ)


def problems(group: type[msgspec.Struct], environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for everything that `load` would refuse, not only for the first."""
    return [*_unknown(environ), *_refused(group, environ)]


def names(group: type[msgspec.Struct]) -> frozenset[str]:
    """Return the variables that a process with this group reads, those of nested groups included."""
    found: set[str] = set()
    for hint in get_type_hints(group, include_extras=True).values():
        env = _env_of(hint)
        found |= names(hint) if env is None else {env.name}
    return frozenset(found)


def describe(group: type[msgspec.Struct]) -> Iterator[Setting]:
    """Yield the settings of one group, in the order of its fields, without those of nested groups."""
    hints = get_type_hints(group, include_extras=True)
    for field in msgspec.structs.fields(group):
        env = _env_of(hints[field.name])
        if env is not None:
            kind = get_args(hints[field.name])[0]
            yield Setting(env, group.__name__, kind.__name__, field.default, field.required, secret=kind is Secret)


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    known = {setting.env.name for each in GROUPS for setting in describe(each)}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            yield f"{name} is not a setting of modbot."


def _refused(group: type[msgspec.Struct], environ: Mapping[str, str]) -> Iterator[str]:
    hints = get_type_hints(group, include_extras=True)
    for field in msgspec.structs.fields(group):
        env = _env_of(hints[field.name])
        if env is None:
            yield from _refused(hints[field.name], environ)
            continue
        try:
            _field(env, field, get_args(hints[field.name])[0], environ)
        except SettingsError as error:
            yield str(error)


def _load(group: type[_T], environ: Mapping[str, str]) -> _T:
    values: dict[str, Any] = {}
    hints = get_type_hints(group, include_extras=True)
    for field in msgspec.structs.fields(group):
        env = _env_of(hints[field.name])
        if env is None:
            values[field.name] = _load(hints[field.name], environ)
        else:
            values[field.name] = _field(env, field, get_args(hints[field.name])[0], environ)
    return group(**values)


def _field(env: Env, field: msgspec.structs.FieldInfo, kind: type[Any], environ: Mapping[str, str]) -> Any:
    if env.name in environ:
        return _value(env, kind, environ[env.name])
    if field.required:
        raise SettingsError(f"{env.name} is not set. {env.doc}")
    return field.default


def _value(env: Env, kind: type[Any], text: str) -> Any:
    if kind is Secret:
        return _secret(env, text)
    if kind is bool and text.lower() in {"yes", "on", "no", "off"}:
        return text.lower() in {"yes", "on"}
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{env.name} is not valid: {error}.") from None


def _secret(env: Env, text: str) -> Secret:
    if text.strip().lower() in _WEAK_SECRETS:
        raise SettingsError(f"{env.name} is empty or a default value; give it a secret of its own.")
    if env.name in {"MODBOT_INTERNAL_TOKEN", "SESSION_SECRET"} and len(text) < _SHORTEST_SECRET:
        raise SettingsError(f"{env.name} is too short; use at least {_SHORTEST_SECRET} characters.")
    return Secret(text)


def _env_of(hint: Any) -> Env | None:
    return next((extra for extra in get_args(hint)[1:] if isinstance(extra, Env)), None) if get_args(hint) else None
