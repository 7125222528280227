"""What `kubectl` would say about the words of a command, without a cluster: verbs and options exist, files and objects that are named exist."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docskit
import yaml

KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
_NESTED = frozenset({"auth", "cluster-info", "config", "create", "rollout", "set", "top"})
_ALIASES = {"pods": "pod", "nodes": "node"}
_VERB = re.compile(r"^  ([a-z-]+)  +\S", re.MULTILINE)
_OPTION = re.compile(r"^ {4}(?:(-\w), )?(--[\w-]+)=(.*):$", re.MULTILINE)
_FLAGS = re.compile(r"-[a-zA-Z]{2,}")
# The resources of our manifests as people write them, with the kind that they name.
_RESOURCES = {
    "configmap": "ConfigMap",
    "cronjob": "CronJob",
    "deploy": "Deployment",
    "deployment": "Deployment",
    "events": "Event",
    "hpa": "HorizontalPodAutoscaler",
    "ingress": "Ingress",
    "job": "Job",
    "jobs": "Job",
    "networkpolicy": "NetworkPolicy",
    "node": "Node",
    "nodes": "Node",
    "pdb": "PodDisruptionBudget",
    "pod": "Pod",
    "pods": "Pod",
    "pvc": "PersistentVolumeClaim",
    "secret": "Secret",
    "service": "Service",
    "serviceaccount": "ServiceAccount",
    "statefulset": "StatefulSet",
    "svc": "Service",
}
_GENERATED = frozenset({"Event", "Node", "Pod", "PersistentVolumeClaim", "Secret"})
"""Kinds whose objects no manifest holds: they are made by others, by a controller or by hand."""
_PATCHES = frozenset({"-p", "--patch"})


def complaints(words: list[str]) -> Iterator[str]:
    """Yield what is wrong with a `kubectl` command, given as words without `kubectl`."""
    ours = words[: words.index("--")] if "--" in words else words
    verb, rest = _verb(ours)
    if verb is None:
        yield f"kubectl has no verb {' '.join(ours[:2])}"
        return
    options, plain = _sorted(verb, rest)
    for name, value in options:
        if name not in _options(verb):
            yield f"kubectl {verb} has no option {name}"
        elif name in {"-k", "--kustomize"} and value and not (docskit.ROOT / value / "kustomization.yaml").exists():
            yield f"{value} has no kustomization.yaml"
        elif name in {"-f", "--filename"} and verb != "logs" and value != "-" and not (docskit.ROOT / value).exists():
            yield f"there is no file {value}"
        elif name in _PATCHES:
            yield from _not_json(value)
    yield from _objects(verb, plain)


def _verb(words: list[str]) -> tuple[str | None, list[str]]:
    if not words or words[0] not in _verbs(""):
        return None, []
    if words[0] in _NESTED:
        words = [words[0], *(_ALIASES.get(word, word) for word in words[1:2]), *words[2:]]
        if len(words) < 2 or words[1] not in _verbs(words[0]):
            return None, []
        if (words[0], words[1]) == ("create", "secret"):
            known = len(words) > 2 and words[2] in _verbs("create secret")
            return ("create secret " + words[2], words[3:]) if known else (None, [])
        return f"{words[0]} {words[1]}", words[2:]
    return words[0], words[1:]


def _sorted(verb: str, rest: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Tell options with their values from other words."""
    known = _options(verb)
    options, plain = [], []
    waiting = iter(rest)
    for word in waiting:
        name, equals, value = word.partition("=")
        if not word.startswith("-") or word == "-":
            plain.append(word)
        elif _FLAGS.fullmatch(word):
            options += [(f"-{letter}", "") for letter in word[1:]]
        else:
            takes = known.get(name, False) and not equals
            options.append((name, next(waiting, "") if takes else value))
    return options, plain


def _objects(verb: str, plain: list[str]) -> Iterator[str]:
    """Yield what is named and is neither a kind we know nor an object of our manifests."""
    if verb not in {
        "get",
        "describe",
        "delete",
        "scale",
        "patch",
        "edit",
        "rollout status",
        "rollout restart",
        "rollout undo",
        "exec",
    }:
        return
    if verb == "exec":
        named = [tuple(plain[0].split("/", 1))] if plain and "/" in plain[0] else []
    elif plain and "/" in plain[0]:
        named = [tuple(word.split("/", 1)) for word in plain]
    else:
        kinds = plain[0].split(",") if plain else []
        named = [(kind, name) for kind in kinds for name in (plain[1:] or [""])]
    for kind, name in named:
        if kind not in _RESOURCES:
            yield f"{kind} is no kind that our pages should need"
        elif name and not _exists(_RESOURCES[kind], name):
            yield f"no manifest has a {_RESOURCES[kind]} {name}"


def _exists(kind: str, name: str) -> bool:
    """Whether there can be such an object; jobs are named after the CronJob that makes them."""
    made = kind == "Job" and any(name.startswith(f"{each}-") for other, each in manifests() if other == "CronJob")
    return kind in _GENERATED or made or (kind, name) in manifests()


def _not_json(text: str) -> Iterator[str]:
    try:
        json.loads(text)
    except ValueError:
        yield f"the patch is no JSON: {text}"


@functools.cache
def manifests() -> frozenset[tuple[str, str]]:
    """Return kind and name of every object that the kustomizations of `cluster/` make, each with its example of a `k8s-context`."""
    found: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "cluster"
        if (docskit.ROOT / "cluster").exists():
            shutil.copytree(docskit.ROOT / "cluster", copy)
        for example in copy.rglob("k8s-context.example"):
            shutil.copy(example, example.with_suffix(""))
        for path in copy.rglob("kustomization.yaml"):
            whole = "kind: Component" not in path.read_text("utf-8")
            rendered = _said("kustomize", str(path.parent)) if whole else ""
            for each in yaml.safe_load_all(rendered):
                found.add((each["kind"], each["metadata"]["name"]))
    return frozenset(found)


@functools.cache
def _verbs(of: str) -> frozenset[str]:
    return frozenset(_VERB.findall(_said(*of.split(), "--help")))


@functools.cache
def _options(of: str) -> dict[str, bool]:
    """Return the options of a verb, short and long; whether a value must follow."""
    return {
        name: default not in {"true", "false"}
        for short, long, default in _OPTION.findall(_said(*of.split(), "--help") + _said("options"))
        for name in (short, long)
        if name
    }


@functools.cache
def _said(*words: str) -> str:
    return subprocess.run([KUBECTL, *words], capture_output=True, text=True, check=True, timeout=30).stdout
