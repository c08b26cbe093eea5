"""Who may take other nodes for dead."""

from __future__ import annotations

import pytest

from mail_proxy.daemon.vigil import BREAK, GRACE, Vigil

NOON = 1_700_000_000.0


def watched(vigil: Vigil, seconds: float, since: float = NOON) -> float:
    """Look every five seconds for so long; the moment of the last look."""
    now = since
    vigil.look(now)
    while now < since + seconds:
        now += 5
        vigil.look(now)
    return now


def test_a_node_judges_after_watching_for_a_while() -> None:
    vigil = Vigil(GRACE)
    assert vigil.look(NOON)
    assert not vigil.may_judge(NOON)
    assert not vigil.may_judge(watched(vigil, GRACE - 5))
    assert vigil.may_judge(watched(vigil, GRACE))


@pytest.mark.parametrize("gap", [BREAK + 1, 3600, -1, -3600], ids=["sleep", "long", "back", "far back"])
def test_a_sleep_or_a_clock_that_is_set_makes_it_begin_anew(gap: float) -> None:
    vigil = Vigil(GRACE)
    now = watched(vigil, 60) + gap

    assert vigil.look(now)
    assert not vigil.may_judge(now)
    assert vigil.may_judge(watched(vigil, GRACE, since=now))


def test_a_database_that_is_away_makes_it_begin_anew() -> None:
    vigil = Vigil(GRACE)
    now = watched(vigil, 60)
    vigil.broken()

    assert not vigil.may_judge(now)
    assert vigil.look(now + 1)
    assert not vigil.may_judge(now + 1)


def test_it_looks_again_when_it_may_judge_and_often_enough_until_then() -> None:
    """Else its own slowness would break the watch; a lease that holds is looked after when it runs out."""
    vigil = Vigil(GRACE)
    vigil.look(NOON)
    assert vigil.next_look(NOON + 20, NOON) == NOON + 20
    assert vigil.next_look(NOON - 1, NOON) == NOON + BREAK / 2
    now = watched(vigil, GRACE - 5)
    assert vigil.next_look(NOON - 1, now + 2) == NOON + GRACE


def test_where_there_are_no_others_there_is_nothing_to_wait_for() -> None:
    vigil = Vigil(0.0)
    vigil.look(NOON)
    assert vigil.may_judge(NOON)
