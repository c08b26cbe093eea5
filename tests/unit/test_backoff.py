"""When a deferred message is tried again."""

from __future__ import annotations

from random import Random

import pytest

from mail_proxy.smtp.backoff import retry_at

DELAYS = (60.0, 300.0, 900.0, 3600.0, 7200.0)
NOW = 1_000_000.0


class Middle(Random):
    """Chance that always falls in the middle of the interval."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@pytest.mark.parametrize(("attempt", "delay"), [(1, 60.0), (2, 300.0), (3, 900.0), (4, 3600.0), (5, 7200.0)])
def test_each_failure_waits_the_delay_of_its_turn(attempt: int, delay: float) -> None:
    assert retry_at(NOW, attempt, DELAYS, 5, Middle()) == NOW + delay


def test_the_attempt_after_the_last_retry_is_the_end() -> None:
    assert retry_at(NOW, 6, DELAYS, 5, Middle()) is None


def test_without_retries_the_first_failure_is_the_end() -> None:
    assert retry_at(NOW, 1, DELAYS, 0, Middle()) is None


def test_without_delays_there_are_no_retries() -> None:
    assert retry_at(NOW, 1, (), 5, Middle()) is None


def test_the_last_delay_repeats_when_there_are_more_retries_than_delays() -> None:
    assert retry_at(NOW, 8, (60.0, 300.0), 10, Middle()) == NOW + 300.0


def test_delays_vary_by_at_most_a_tenth_and_fill_that_range() -> None:
    rng = Random(7)
    waits = [(retry_at(NOW, 1, DELAYS, 5, rng) or 0.0) - NOW for _ in range(2000)]
    assert min(waits) == pytest.approx(54.0, abs=0.1)
    assert max(waits) == pytest.approx(66.0, abs=0.1)
