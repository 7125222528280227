"""When a connection counts as dead."""

from modbot.discord.heartbeats import PATIENCE, Heart


def heart():
    return Heart(interval=40.0, fraction=0.25, now=100.0)


def test_first_beat_comes_after_a_random_part_of_the_interval_then_one_per_interval():
    subject = heart()
    assert subject.seconds_until_due(100.0) == 10.0
    assert subject.seconds_until_due(111.0) == 0.0
    subject.beaten(111.0)
    assert subject.seconds_until_due(112.0) == 39.0


def test_nothing_is_dead_before_the_first_beat_or_after_an_answer():
    subject = heart()
    assert subject.why_dead() is None
    subject.beaten(110.0)
    subject.acknowledged(110.2)
    assert subject.why_dead() is None
    assert abs(subject.latency - 0.2) < 1e-9


def test_silence_between_two_beats_is_death():
    subject = heart()
    subject.beaten(110.0)
    assert "no data" in subject.why_dead()


def test_data_without_an_answer_is_tolerated_for_some_beats_only():
    subject = heart()
    for number in range(1, PATIENCE + 1):
        assert subject.why_dead() is None
        subject.beaten(110.0 + 40 * number)
        subject.frame_seen()
    assert f"{PATIENCE} heartbeats" in subject.why_dead()
    subject.acknowledged(300.0)
    assert subject.why_dead() is None


def test_while_we_do_not_read_nothing_is_known():
    subject = heart()
    for number in range(PATIENCE + 3):
        subject.beaten(110.0 + number)
        subject.reading_blocked()
        assert subject.why_dead() is None
