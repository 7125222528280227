"""Writes the reference pages that come from the code.

They are: settings, metrics, commands, errors, command line, the doctor's findings, simulator switches. `pages()` returns every page with its text and writes nothing; the tests compare it with what is committed. Run `scripts/generate-docs`.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import click
import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.process_collector import ProcessCollector

import modbot
from discordsim import switches
from modbot.cli.doctor import checks
from modbot.cli.doctor.findings import Level
from modbot.cli.main import main as command_line
from modbot.discord.intents import Intent, intents_for
from modbot.domain.errors import ModbotError
from modbot.features import all_features
from modbot.ops import metrics, resources, settings
from modbot.shard.feature import CommandKind, Component, Deferral, Feature

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/reference"
_NOTE = "<!-- Written by scripts/generate-docs from the code. Do not edit. -->\n"
_SERVICES = ("config", "gateway", "http")
_PROCESSES = {
    settings.EntrySettings: "`modbot` without a verb",
    settings.ConfigSettings: "`modbot config`",
    settings.GatewaySettings: "`modbot gateway`",
    settings.HttpSettings: "`modbot http`",
    settings.SingleSettings: "`modbot single`",
}
_TITLES = {
    settings.EntrySettings: "Which service",
    settings.CommonSettings: "Every process",
    settings.DiscordSettings: "Discord",
    settings.ConfigSettings: "Config service",
    settings.GatewaySettings: "Gateway pod",
    settings.ReplicaSettings: "Replicas of shard files",
    settings.HttpSettings: "Http pod",
}
_KINDS = {CommandKind.SLASH: "/{}", CommandKind.USER: "user menu: {}", CommandKind.MESSAGE: "message menu: {}"}
_DEFERRALS = {
    Deferral.EPHEMERAL: "“thinking”, only they see it",
    Deferral.PUBLIC: "“thinking”, everybody sees it",
    Deferral.UPDATE: "silently, the message changes later",
}


def pages() -> dict[str, str]:
    """Return the text of every generated page by its file name."""
    made = {
        "settings.md": _settings(),
        "metrics.md": _metrics(),
        "commands.md": _commands(),
        "errors.md": _errors(),
        "cli.md": _cli(),
        "doctor.md": _doctor(),
        "simulator-switches.md": _switches(),
    }
    return {name: f"{_NOTE}{text.strip()}\n" for name, text in made.items()}


def main() -> int:
    """Write the pages that differ."""
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return 0


def _settings() -> str:
    parts = [
        "# Settings",
        (
            "Processes read their settings from the environment, once, when they start. A missing, malformed or unknown\n"
            "`MODBOT_*` name stops the start with one sentence. Booleans take `true`, `false`, `yes`, `no`, `on`, `off`, `1`,\n"
            "`0`. Secrets never print, and the two that modbot's own parts share must have 16 characters or more."
        ),
        (
            "`modbot status` and the other operator's verbs read `MODBOT_CONFIG_URL` and `MODBOT_INTERNAL_TOKEN`; without them they look for the\n"
            "system that `modbot dev` runs in this folder. `modbot adopt` and `modbot restore-drill` read the settings of the replica store as well."
        ),
    ]
    for group in settings.GROUPS:
        readers = [text for process, text in _PROCESSES.items() if group in _with_nested(process)]
        parts.append(f"## {_TITLES[group]}")
        parts.append(f"Read by {', '.join(readers)}.")
        rows = [
            (f"`{each.env.name}`", _default(each), each.type_name.lower(), each.env.doc)
            for each in settings.describe(group)
        ]
        parts.append(_table(("name", "default", "type", "meaning"), rows))
    return "\n\n".join(parts)


def _with_nested(group: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    yield group
    for hint in get_type_hints(group).values():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _with_nested(hint)


def _default(setting: settings.Setting) -> str:
    if setting.required:
        return "required"
    if setting.default == "" or setting.secret:
        return "empty"
    shown = str(setting.default).lower() if isinstance(setting.default, bool) else str(setting.default)
    return f"`{shown}`" + (f" {setting.env.unit}" if setting.env.unit else "")


def _metrics() -> str:
    parts = [
        "# Metrics",
        (
            "Every process serves `/metrics` in Prometheus' text format, to whoever reaches its port. Labels never carry a guild, a user or\n"
            "a token. A dedicated shard is named after its guild, so its label is `dedicated-1`, `dedicated-2` … in the order in which the pod\n"
            "met them; the `label` in the pod's `GET /shards` ([internal API](internal-api.md)) says which is which. Gauges of a shard are\n"
            "gone when the pod does not serve it any more; counters stay.\n\n"
            "[Monitor](../how-to/monitor.md) tells how to scrape, and which alerts and dashboard exist."
        ),
        "## Every process",
        _resource_table(),
        "## Gateway pods",
        _metric_table(vars(metrics).values()),
    ]
    for service in _SERVICES:
        found = _own_metrics(service)
        if found:
            parts += [f"## {service.capitalize()} pods: own metrics", _metric_table(found)]
    return "\n\n".join(parts)


def _own_metrics(service: str) -> list[Any]:
    name = f"modbot.services.{service}.metrics"
    if importlib.util.find_spec(name) is None:
        return []
    module = importlib.import_module(name)
    return [*vars(module).values(), *vars(module.Metrics()).values()]


def _resource_table() -> str:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    families = [*registry.collect(), *resources.MemoryLimit().describe()]
    rows = [
        (f"`{family.name}{'_total' if family.type == 'counter' else ''}`", family.type, "none", family.documentation)
        for family in families
    ]
    return _table(("name", "type", "labels", "meaning"), rows)


def _metric_table(values: Iterable[Any]) -> str:
    rows = []
    for value in values:
        each = value.family if isinstance(value, metrics.PerShard) else value
        if isinstance(each, MetricWrapperBase):
            family = next(iter(each.describe()))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in each._labelnames) or "none"
            rows.append((f"`{name}`", family.type, labels, family.documentation))
    return _table(("name", "type", "labels", "meaning"), rows)


def _commands() -> str:
    features = all_features()
    parts = [
        "# Commands, buttons and forms",
        (
            "Who may use something is checked by modbot at every use. *Moderator* is a holder of the moderator role that\n"
            "`/setup` names, or an Administrator. *Administrator* here is somebody with Manage Server or Administrator."
        ),
        (
            "*Late* says what Discord shows when the answer takes longer than the deadline; the answer then follows. What opens a\n"
            "form cannot be late: the form is the answer. *Anonymous*: the http pods replace who used it by a keyed hash before anything\n"
            "is stored or forwarded."
        ),
        "## Commands",
        _command_table(features),
        "## Buttons",
        _component_table(features, forms=False),
        "## Forms",
        _component_table(features, forms=True),
        "## Gateway events and intents",
        _events(features),
        "## Effects and timers",
        _table(("name", "kind", "does"), list(_later(features))),
    ]
    return "\n\n".join(parts)


def _command_table(features: tuple[Feature, ...]) -> str:
    rows = []
    for feature in features:
        for each in feature.commands:
            options = ", ".join(f"`{option.name}`" for option in each.options)
            late = "opens a form" if each.modal else _DEFERRALS[each.defers]
            rows.append(
                (
                    f"`{_KINDS[each.kind].format(each.name)}`",
                    each.access.value + (", anonymous" if each.anonymous else ""),
                    late,
                    options or "none",
                    _sentence(each.handler),
                )
            )
    return _table(("command", "who", "late", "options", "does"), rows)


def _component_table(features: tuple[Feature, ...], *, forms: bool) -> str:
    rows = []
    for feature in features:
        for each in feature.components:
            if each.is_form is forms:
                late = "opens a form" if each.modal else _DEFERRALS[each.defers]
                who = each.access.value + (", anonymous" if each.anonymous else "")
                rows.append((f"`{each.prefix}`", _place(each), who, late))
    return _table(("custom id begins with", "where", "who", "late"), rows)


def _place(component: Component) -> str:
    if component.is_form:
        return "a form"
    return f"user thread: *{component.control.label}*" if component.control else "an answer"


def _events(features: tuple[Feature, ...]) -> str:
    wanted: dict[str, list[str]] = {}
    for feature in features:
        for event, handler in feature.events:
            wanted.setdefault(event, []).append(f"`{feature.name}.{handler.__name__}`")
    asked = intents_for(wanted, message_content=True)
    names = ", ".join(f"`{intent.name}`" for intent in Intent if intent & asked)
    rows = [(f"`{event}`", ", ".join(handlers)) for event, handlers in sorted(wanted.items())]
    return f"These events need the intents {names}.\n\n{_table(('event', 'handled by'), rows)}"


def _later(features: tuple[Feature, ...]) -> Iterator[tuple[str, str, str]]:
    for feature in features:
        for effect in feature.effects:
            yield f"`{effect.name}`", "effect", _sentence(effect.body)
        for timer in feature.timers:
            yield f"`{timer.name}`", "timer", _sentence(timer.handler)


def _errors() -> str:
    for module in pkgutil.walk_packages(modbot.__path__, "modbot."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = {each for each in _subclasses(ModbotError) if each.__module__.startswith("modbot.")}
    rows = [
        (f"`{each.code}`", str(each.status), "yes" if each.retry else "no", _sentence(each), each.hint)
        for each in sorted(found, key=lambda each: (each.code, each.__qualname__))
    ]
    parts = [
        "# Errors",
        (
            "Every error that people get to see has a stable code. It stands in the log line, in the answer of an API (RFC 9457,\n"
            "`code`) and, for a member, behind the sentence they read."
        ),
        _table(("code", "HTTP", "try again", "meaning", "what to do"), rows),
    ]
    return "\n\n".join(parts)


def _subclasses(kind: type[ModbotError]) -> Iterator[type[ModbotError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _subclasses(each)


def _cli() -> str:
    parts = ["# Command line", "Data goes to stdout, talk to stderr. `modbot <verb> --help` shows the same."]
    for name, command in _verbs(command_line, ""):
        arguments = "".join(
            f" {(each.name or '').upper()}" for each in command.params if isinstance(each, click.Argument)
        )
        parts += [f"## `modbot {name}{arguments}`", command.help or ""]
        rows = [_option(each) for each in command.params if isinstance(each, click.Option)]
        if rows:
            parts.append(_table(("option", "default", "does"), rows))
    return "\n\n".join(parts)


def _doctor() -> str:
    rows = [
        (f"`{kind.code}`", kind.level.value, kind.means, kind.effect, kind.fix.replace("{subject}", "NAME"))
        for kind in sorted(checks.KINDS, key=lambda kind: kind.level is not Level.WRONG)
    ]
    parts = [
        "# What the doctor finds",
        (
            "`modbot doctor` names each finding by its code and what it is about, and says what it has seen, what comes of it and what to do.\n"
            "*Wrong*: something does not work now, or cannot start; the exit code is 1. *Warning*: it works, and the next fault will hurt."
        ),
        (
            "It looks from where it runs: inside a pod at that pod as well (which one it is, its variables say, or `--for`), at an\n"
            "operator's desk at the system of `MODBOT_CONFIG_URL` or at the `modbot dev` of this folder. What it could not look at it\n"
            "says on stderr. Everything about pods, shards and moves comes from the config service. It changes nothing."
        ),
        (
            "With `--before-start` it looks at what can be known before a gateway pod starts: variables, volume, programs, store, config\n"
            "service. For the config service and the store it waits (`--timeout`)."
        ),
        _table(("code", "level", "means", "effect", "what to do"), rows),
    ]
    return "\n\n".join(parts)


def _verbs(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _verbs(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _option(option: click.Option) -> tuple[str, str, str]:
    default = "off" if option.is_flag else "required" if option.required else f"`{option.default}`"
    return f"`{option.opts[-1]}`", default, option.help or ""


def _switches() -> str:
    body = ast.parse(inspect.getsource(switches.Switches)).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError("Switches is not a class")
    rows = []
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            default = "" if field.value is None else ast.unparse(field.value)
            rows.append((f"`{ast.unparse(field.target)}`", f"`{default}`", ast.literal_eval(text.value)))
    parts = [
        "# Switches of the simulated Discord",
        "What is unknown, private or may fail about Discord is a switch of the simulator. See\n[the simulator](simulator.md).",
        _table(("switch", "default", "meaning"), rows),
    ]
    return "\n\n".join(parts)


def _sentence(documented: Any) -> str:
    """Return the first sentence of a docstring, on one line."""
    first = (inspect.getdoc(documented) or "").split("\n\n", 1)[0]
    return " ".join(first.split())


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(titles), " | ".join("---" for _ in titles)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
