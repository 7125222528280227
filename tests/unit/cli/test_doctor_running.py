"""How the doctor speaks: text in 80 columns, JSON for programs, exit codes, and its patience before a start."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from doctorkit import clustered, healthy, plan, pod, shard

from modbot.cli.doctor import looking, running
from modbot.cli.doctor.facts import ConfigService, Environment, Facts, Place, Service
from modbot.cli.doctor.looking import Order
from modbot.cli.main import main

DESK = Order(Place.DESK, {}, Path("nowhere"))
BEFORE = Order(Place.GATEWAY, {}, Path("nowhere"), before_start=True)
AWAY = healthy(config=ConfigService(Service("http://config-service:3001", problem="Connection refused")))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Facts]:
    """What is seen, one look after the other; the last one stays."""
    facts: list[Facts] = []

    async def look(_order: Order) -> Facts:
        return facts.pop(0) if len(facts) > 1 else facts[0]

    monkeypatch.setattr(looking, "look", look)
    monkeypatch.setattr(running, "_AGAIN", 0.001)
    return facts


def _run(order: Order, *, as_json: bool = False, timeout: float = 0.0) -> int:
    return running.run(order, as_json=as_json, timeout=timeout)


def test_all_is_well(seen: list[Facts], capsys: pytest.CaptureFixture[str]) -> None:
    seen.append(healthy(unseen=("Discord: --offline",)))
    assert _run(DESK) == 0
    assert capsys.readouterr() == ("", "not looked at: Discord: --offline\nNothing is wrong with what was looked at.\n")


def test_a_warning_is_shown_and_is_no_failure(seen: list[Facts], capsys: pytest.CaptureFixture[str]) -> None:
    seen.append(clustered(plan=plan(paused=True)))
    assert _run(DESK) == 0
    out, said = capsys.readouterr()
    assert out.startswith("warning  moves_paused\n  cause  0 moves are due.\n  effect Nothing moves")
    assert said == "Nothing is wrong, 1 warning.\n"


def test_what_has_the_same_fix_is_told_once_and_fits_80_columns(
    seen: list[Facts], capsys: pytest.CaptureFixture[str]
) -> None:
    seen.append(
        clustered(
            pods=(pod(0), pod(1)),
            shards=(
                shard("0-of-2", None, waiting="It waits for gateway-7, which has its file, and " * 3 + "so on."),
                shard("1-of-2", None, waiting="All pods are full."),
            ),
        )
    )
    assert _run(DESK) == 1
    out, said = capsys.readouterr()
    assert out.startswith("wrong    shard_unowned  0-of-2, 1-of-2\n  cause  0-of-2: It waits for gateway-7")
    assert "  cause  1-of-2: All pods are full.\n" in out
    assert out.count("  fix ") == 1
    assert max(map(len, out.splitlines())) <= 80
    assert said == "2 wrong.\n"


def test_the_same_for_programs(seen: list[Facts], capsys: pytest.CaptureFixture[str]) -> None:
    seen.append(dataclasses.replace(AWAY, unseen=("pods and shards: why",)))
    assert _run(DESK, as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["place"], told["unseen"]) == ("gateway", ["pods and shards: why"])
    assert [sorted(each) for each in told["findings"]] == [["cause", "code", "effect", "fix", "level", "subject"]]
    assert told["findings"][0]["code"] == "config_unreachable"


@pytest.fixture
def before() -> Facts:
    return dataclasses.replace(AWAY, before_start=True)


def test_before_a_start_it_waits_for_what_may_come(
    seen: list[Facts], before: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    seen += [before, before, healthy(before_start=True)]
    assert _run(BEFORE, timeout=30) == 0
    assert capsys.readouterr().err == "waiting: config_unreachable\nwaiting: config_unreachable\nNothing is wrong.\n"


def test_before_a_start_it_does_not_wait_for_ever(seen: list[Facts], before: Facts) -> None:
    seen.append(before)
    assert _run(BEFORE, timeout=0.01) == 1


def test_before_a_start_it_does_not_wait_for_what_stays_wrong(seen: list[Facts], before: Facts) -> None:
    seen += [dataclasses.replace(before, environment=Environment(empty=("POD_NAME",))), healthy()]
    assert _run(BEFORE, timeout=30) == 1


def test_a_running_system_is_not_waited_for(seen: list[Facts]) -> None:
    seen += [AWAY, healthy()]
    assert _run(DESK, timeout=30) == 1


def test_a_desk_has_no_start() -> None:
    answer = CliRunner(env={"POD_NAME": None, "MODBOT_DATA_DIR": None}).invoke(main, ["doctor", "--before-start"])
    assert answer.exit_code == 2
    assert "--before-start needs a service" in answer.output
