"""Which copy of a shard counts."""

from datetime import UTC, datetime, timedelta

import pytest

from modbot.domain.ids import Epoch, MoveId, ShardId
from modbot.domain.offsets import Offset
from modbot.domain.replicas import FileFacts, Ownership, decide_forgotten, why_not_ours, why_not_sound, why_rolled_back

SHARD, OTHER = ShardId("1-of-4"), ShardId("2-of-4")
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def facts(epoch: int, *, shard: ShardId = SHARD, arrived: int = 0, seq: int = 9) -> FileFacts:
    return FileFacts(shard, Epoch(epoch), MoveId(arrived), Offset(session_id="s", resume_url="u", seq=seq))


def owned(epoch: int, since: int, *, move: int = 0) -> Ownership:
    return Ownership(SHARD, Epoch(epoch), Epoch(since), MoveId(move), served=True, born_epoch=Epoch(0))


@pytest.mark.parametrize(
    ("file", "grant", "counts"),
    [
        (facts(7), owned(8, 5), True),
        (facts(5), owned(8, 5), True),
        (facts(4), owned(8, 5), False),
        (facts(4, arrived=31), owned(5, 5, move=31), True),
        (facts(4, arrived=30), owned(5, 5, move=31), False),
        (facts(4, arrived=0), owned(5, 5, move=0), False),
        (facts(7, shard=OTHER), owned(8, 5), False),
        (facts(9), owned(8, 5), True),
    ],
)
def test_a_file_counts_within_one_unbroken_ownership(file: FileFacts, grant: Ownership, *, counts: bool) -> None:
    assert (why_not_ours(file, grant) == "") is counts


@pytest.mark.parametrize(
    ("path", "newest", "seq", "reported", "told"),
    [
        (4, 4, 9, 9, ""),
        (4, 4, 9, 0, ""),
        (3, 4, 9, 0, "the replica of epoch 4 is not sound, and that of epoch 3 took its place"),
        (4, 4, 9, 10, "the replica of epoch 4 ends at 9, and 10 had been replicated"),
    ],
)
def test_a_file_that_is_older_than_what_was_replicated_says_why(
    path: int, newest: int, seq: int, reported: int, told: str
) -> None:
    file = facts(path, seq=seq)
    assert why_rolled_back(file, path_epoch=Epoch(path), newest=Epoch(newest), reported_seq=reported) == told


@pytest.mark.parametrize(
    ("file", "path", "sound"),
    [
        (facts(5), 5, True),
        (facts(6), 5, True),
        (facts(8), 5, True),
        (facts(9), 5, False),
        (facts(4), 5, False),
        (facts(5, shard=OTHER), 5, False),
        (facts(5, seq=-1), 5, False),
        (FileFacts(SHARD, Epoch(5), MoveId(0), None), 5, True),
    ],
)
def test_a_restored_file_is_what_its_path_says(file: FileFacts, path: int, *, sound: bool) -> None:
    assert (why_not_sound(file, owned(8, 8), path_epoch=Epoch(path)) == "") is sound


def days_ago(number: float) -> datetime:
    return NOW - timedelta(days=number)


@pytest.mark.parametrize(
    ("written", "keep", "forgotten"),
    [
        ({9: 0, 8: 5, 7: 6, 6: 7, 5: 8}, 3, [6, 5]),
        ({9: 0, 8: 5, 7: 6, 6: 0.5, 5: 8}, 3, [5]),
        ({9: 0, 8: 5, 7: 6}, 3, []),
        ({11: 0, 10: 3, 9: 4, 8: 5, 7: 6}, 1, [8, 7]),
        ({8: 5, 7: 6, 6: 7}, 3, [6]),
        ({9: 0, 8: 5}, 0, [8]),
    ],
)
def test_old_epochs_go_and_later_ones_are_nobodys_business(
    written: dict[int, float], keep: int, forgotten: list[int]
) -> None:
    moments = {Epoch(epoch): days_ago(age) for epoch, age in written.items()}
    assert decide_forgotten(moments, own=Epoch(9), keep=keep, before=days_ago(1)) == forgotten


def test_an_epoch_of_which_nothing_is_left_counts_neither_as_kept_nor_as_forgotten() -> None:
    moments = {Epoch(9): NOW, Epoch(8): None, Epoch(7): days_ago(3), Epoch(6): days_ago(4), Epoch(5): days_ago(5)}
    assert decide_forgotten(moments, own=Epoch(9), keep=3, before=days_ago(1)) == [5]
