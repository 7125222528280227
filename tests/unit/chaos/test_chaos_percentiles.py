from __future__ import annotations

from chaos.percentiles import percentile


def test_the_99th_of_twenty_is_the_largest() -> None:
    assert percentile(range(1, 21), 0.99) == 20


def test_the_median_of_an_even_number_is_the_lower_one() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0


def test_one_value_is_every_percentile() -> None:
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0
