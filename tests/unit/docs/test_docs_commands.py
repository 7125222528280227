"""Every command of the pages has a kind; what runs here alone is run in a copy, the words and files of all others are checked.

Those that need a running system are run by `tests/scenario/test_docs_commands.py`. Rules: `commandkit.py`.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import click
import clusterkit
import commandkit
import docskit
import pytest
from commandkit import Command, Kind

from modbot.cli.main import main as command_line

_ALL = commandkit.everything()
_SPAN = re.compile(r"`(kubectl [^`\n]+)`")
_IN_THE_COPY = ("cluster", "docs", "scripts")


def _of(*kinds: Kind) -> list[Command]:
    return [each for each in _ALL if each.kind in kinds]


def _programs(name: str) -> list[tuple[Command, list[str]]]:
    """Return every use of a program, inside of pods as well."""
    found = [(command, part) for command in _ALL for part in command.parts]
    inside = [
        (command, part[part.index("--") + 1 :]) for command, part in found if part[0] == "kubectl" and "--" in part
    ]
    return [(command, part[1:]) for command, part in found + inside if part[0].removeprefix(".venv/bin/") == name]


def test_every_command_has_a_kind() -> None:
    unknown = [each for each in _ALL if each.kind is None]
    assert unknown == [], commandkit.table(_ALL)
    assert len(_ALL) > 40


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what commands may read and write, with the programs of this environment."""
    folder = tmp_path_factory.mktemp("copy")
    for name in _IN_THE_COPY:
        if (docskit.ROOT / name).exists():
            shutil.copytree(docskit.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".venv").symlink_to(docskit.ROOT / ".venv")
    return folder


@pytest.mark.parametrize("page", sorted({each.page for each in _of(Kind.ALONE)}))
def test_what_runs_alone_runs(page: str, copy: Path) -> None:
    script = "\n".join(each.text for each in _of(Kind.ALONE) if each.page == page)
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=copy,
        env={"PATH": path, "HOME": str(copy), "GITHUB_SHA": "0123abc"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stderr}\n{commandkit.table(_of(Kind.ALONE))}"


def test_what_kubectl_is_told_exists() -> None:
    wrong = [
        f"{command.place}: {complaint}"
        for command, words in _programs("kubectl")
        for complaint in clusterkit.complaints(words)
    ]
    assert wrong == [], commandkit.table(_of(Kind.CLUSTER))


@pytest.mark.parametrize("page", docskit.NAMES)
def test_what_kubectl_is_told_in_the_text_exists(page: str) -> None:
    wrong = [
        f"{span}: {complaint}"
        for span in _SPAN.findall(docskit.prose(docskit.read(page)))
        for words in [part for part in Command(page, 0, span).parts if part[0] == "kubectl"]
        for complaint in clusterkit.complaints(words[1:])
    ]
    assert wrong == []


def test_kubectl_would_complain() -> None:
    def said(text: str) -> list[str]:
        return list(clusterkit.complaints(shlex.split(text)))

    assert said("get pods -l component=gateway -o wide") == []
    assert said("logs gateway-0 -c litestream --tail=20") == []
    assert said("exec -it gateway-0 -- modbot --nonsense") == []
    assert said("create secret generic modbot-env --from-env-file=modbot.env") == []
    assert said("gett pods") == ["kubectl has no verb gett pods"]
    assert said("rollout stat statefulset") == ["kubectl has no verb rollout stat"]
    assert said("get pods --labels=x") == ["kubectl get has no option --labels"]
    assert said("get gateways") == ["gateways is no kind that our pages should need"]
    assert said("scale statefulset gatewy --replicas=5") == ["no manifest has a StatefulSet gatewy"]
    assert said("apply -k nowhere/") == ["nowhere/ has no kustomization.yaml"]
    assert said("apply -f nowhere.yaml") == ["there is no file nowhere.yaml"]
    assert said("patch secret modbot-env -p '{\"a\":}'") == ['the patch is no JSON: {"a":}']


@pytest.mark.parametrize("form", ["block", "span"])
def test_what_modbot_is_told_exists(form: str) -> None:
    """Options and number of arguments of every verb, also of those that are not run here because they do not end."""
    if form == "block":
        found = [(command.place, words) for command, words in _programs("modbot")]
    else:
        spans = [
            (page, span)
            for page in docskit.NAMES
            for span in re.findall(r"`modbot ([a-z][^`\n…|]*)`", docskit.prose(docskit.read(page)))
        ]
        found = [(page, shlex.split(span)) for page, span in spans if page != "docs/roadmap.md" and "<" not in span]
    wrong = [f"{place}: modbot {' '.join(words)}: {why}" for place, words in found if (why := _refusal(words))]
    assert wrong == []


def _refusal(words: list[str]) -> str:
    """Return why the command line would not take these words; the first of a group's names may stand alone."""
    group: click.Command = command_line
    context = click.Context(group)
    rest = list(words)
    while isinstance(group, click.Group) and rest and not rest[0].startswith("-"):
        found = group.get_command(context, rest[0])
        if found is None:
            return f"there is no verb {rest[0]}"
        group, rest = found, rest[1:]
        context = click.Context(group)
    known = {option for each in group.params for option in (*each.opts, *each.secondary_opts)} | {
        "--help",
        "-h",
        "--version",
    }
    return ", ".join(word for word in rest if word.startswith("-") and word.partition("=")[0] not in known)


def test_modbot_would_complain() -> None:
    assert _refusal(["guild", "export", "1", "-o", "x"]) == ""
    assert _refusal(["guild", "exports", "1"]) == "there is no verb exports"
    assert _refusal(["move", "3-of-16", "gateway-1", "--waits"]) == "--waits"


def test_what_needs_the_outside_world_names_files_that_exist() -> None:
    wrong = []
    for command in _of(Kind.OUTSIDE):
        for words in command.parts:
            if words[0] == "make":
                targets = set(re.findall(r"^([a-z-]+):.*## ", docskit.read("Makefile"), re.MULTILINE))
                wrong += [f"{command.place}: {word}" for word in words[1:] if "=" not in word and word not in targets]
            elif words[0] == "docker":
                named = [file for option, file in itertools.pairwise(words) if option in {"-f", "--file"}]
                files = named or (
                    ["Dockerfile"] if words[1] == "build" else ["compose.yaml"] if words[1] == "compose" else []
                )
                wrong += [f"{command.place}: {file}" for file in files if not (docskit.ROOT / file).exists()]
            elif words[0] == "promtool":
                wrong += [f"{command.place}: {word}" for word in words[3:] if not (docskit.ROOT / word).exists()]
            elif words[0].startswith("scripts/") and not (docskit.ROOT / words[0]).exists():
                wrong.append(f"{command.place}: {words[0]}")
    assert wrong == [], commandkit.table(_of(Kind.OUTSIDE))


def test_the_rules_tell_commands_apart() -> None:
    def kind(text: str) -> Kind | None:
        return Command("page", 1, text).kind

    assert kind("export TOKEN=$(openssl rand -hex 32)") is Kind.ALONE
    assert kind("modbot doctor --help") is Kind.ALONE
    assert kind("cat > file <<EOF\nrm -rf /\nEOF") is Kind.ALONE
    assert kind(".venv/bin/modbot status   # a comment") is Kind.SYSTEM
    assert kind("kill -9 $(cat .modbot/dev/gateway-1/pod.lock)") is Kind.SYSTEM
    assert kind("for n in $(seq 0 15); do modbot pin $n-of-16 zone=a; done") is Kind.SYSTEM
    assert kind("kubectl logs gateway-0 | grep 'assigned guilds'") is Kind.CLUSTER
    assert kind("modbot gateway") is Kind.OUTSIDE
    assert kind("docker build -f Dockerfile.config .") is Kind.OUTSIDE
    assert kind("rm -rf /") is None
    assert kind("rm modbot.env") is Kind.ALONE
    assert kind("mv /var/tmp/look.sqlite3 /data/3-of-16.sqlite3") is Kind.SYSTEM
    assert kind("helm install it") is None
    assert kind("cat file | helm template -") is None
    assert kind("echo $(helm list)") is None


def test_what_looks_into_pods_is_told_apart() -> None:
    def runs(text: str) -> bool:
        return Command("page", 1, text).runs_in_pods

    assert runs("kubectl exec gateway-0 -- curl http://config-service:3001/health")
    assert runs("kubectl logs -l component=gateway --tail=20")
    assert runs('kubectl logs gateway-0 -c litestream | grep "level"')
    assert not runs("kubectl logs gateway-0 -c check")
    assert not runs("kubectl logs config-postgres-0")
    assert not runs("kubectl exec gateway-0 -- modbot status && kubectl get pods")


def test_commands_are_read_with_all_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    page = "text\n\n   ```console\n   $ one \\\n       --more\n   answer\n   $ cat <<'END'\n   two\n   END\n   $ x 'a\n   b'\n   ```\n"
    monkeypatch.setattr(docskit, "read", lambda _name: page)
    assert [(each.line, each.text) for each in commandkit.commands("page")] == [
        (4, "one \\\n    --more"),
        (7, "cat <<'END'\ntwo\nEND"),
        (10, "x 'a\nb'"),
    ]
