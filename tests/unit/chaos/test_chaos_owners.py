"""The rules about grants and acts, on histories written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.owners import Grant, History, Lease

_SHARD = "0-of-1"
_A, _B = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"


def _history(*grants: Grant, moves: set[tuple[str, int]] | None = None) -> History:
    history = History("", moves=moves or set())
    history.grants = {_SHARD: list(grants)}
    history.leases = {
        _A: [Lease(0.0, "gateway-0", _A, "live", 16.0)],
        _B: [Lease(0.0, "gateway-1", _B, "live", 99.0)],
    }
    return history


def _act(incarnation: str, at: float) -> dict[str, Any]:
    return {
        "user_agent": f"DiscordBot gateway-0/{incarnation}",
        "path": "/channels/5/messages",
        "method": "POST",
        "time": at,
    }


_FIRST = Grant(1.0, _SHARD, "gateway-0", _A, 1)
_AFTER = Grant(17.0, _SHARD, "gateway-1", _B, 2)
_EARLY = Grant(10.0, _SHARD, "gateway-1", _B, 2)


def test_a_takeover_after_the_lease_is_right() -> None:
    assert _history(_FIRST, _AFTER).two_owners() == set()


def test_a_grant_during_the_lease_is_a_second_owner() -> None:
    (wrong,) = _history(_FIRST, _EARLY).two_owners()
    assert wrong.startswith("I1 0-of-1: epoch 2 was granted while epoch 1 was valid")


def test_a_handoff_during_the_lease_is_right() -> None:
    assert _history(_FIRST, _EARLY, moves={(_SHARD, 2)}).two_owners() == set()


def test_an_epoch_that_does_not_grow_is_wrong() -> None:
    assert _history(_FIRST, Grant(17.0, _SHARD, "gateway-1", _B, 1)).two_owners()
    assert _history(Grant(1.0, _SHARD, "gateway-0", _A, 3), _AFTER).two_owners()


@pytest.mark.parametrize(
    ("incarnation", "at", "right"), [(_A, 5.0, True), (_B, 5.0, False), (_B, 18.0, True), (_A, 18.0, False)]
)
def test_only_the_owner_acts(incarnation: str, at: float, *, right: bool) -> None:
    wrong = _history(_FIRST, _AFTER).strangers([_act(incarnation, at)], {"5": _SHARD})
    assert (wrong == set()) is right


def test_nobody_acts_past_its_lease_unless_nobody_can_renew() -> None:
    history = _history(_FIRST)
    assert history.strangers([_act(_A, 20.0)], {"5": _SHARD})
    history.unfenced.append((15.0, 30.0))
    assert history.strangers([_act(_A, 20.0)], {"5": _SHARD}) == set()


def test_what_others_send_and_other_channels_do_not_count() -> None:
    acts = [_act(_B, 5.0) | {"user_agent": "curl"}, _act(_B, 5.0) | {"path": "/guilds/5"}]
    assert _history(_FIRST).strangers(acts, {"5": _SHARD}) == set()


def test_a_request_that_waited_for_the_simulator_is_as_old_as_its_wait() -> None:
    history, late = _history(_FIRST, _AFTER), [_act(_A, 18.0)]
    assert history.strangers(late, {"5": _SHARD}, [{"until": 10.0, "seconds": 2.0}])
    assert history.strangers(late, {"5": _SHARD}, [{"until": 18.0, "seconds": 2.0}]) == set()
