"""The picture that ``top`` shows: from what was seen and the room there is, to lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from mail_proxy.model.activity import (
    SPAN,
    AccountActivity,
    AccountState,
    Activity,
    Failure,
    LimitUse,
    Order,
    Outcome,
)
from mail_proxy.model.messages import Status
from mail_proxy.model.queue import NodeInfo
from mail_proxy_cli.output import when
from mail_proxy_cli.top.picture import Scene, picture

NOW = 1_700_000_000.0
RUNNING: Mapping[str, object] = {
    "name": "myserver",
    "state": "running",
    "url": "http://127.0.0.1:8000",
    "uptime_seconds": 7500,
}
STOPPED: Mapping[str, object] = {"name": "myserver", "state": "stopped", "url": None, "uptime_seconds": None}
KEYS = "q quit"
TROUBLE = "the database is away"


def hour(ts: float) -> str:
    return when(ts).split()[1]


def counts(*newest: int) -> tuple[int, ...]:
    return (0,) * (SPAN - len(newest)) + newest


def account(account_id: str = "main", *, state: AccountState | None = None, **done: int) -> AccountActivity:
    return AccountActivity(
        tenant_id="acme",
        account_id=account_id,
        waiting={Status.PENDING: 1200, Status.DEFERRED: 34},
        done={Outcome(name): number for name, number in done.items()},
        state=state or condition(),
    )


def condition(
    *limits: LimitUse,
    resting_until: float | None = None,
    last_error: str | None = None,
    waits_since: float | None = None,
) -> AccountState:
    return AccountState(
        resting_until=resting_until, last_error=last_error, limits=limits, waits_since=waits_since
    )


def failure(number: int, text: str = "550 no such user", ts: float = NOW - 3) -> Failure:
    return Failure(
        event_id=number, ts=ts, tenant_id="acme", account_id="main", id=f"order-{number}", text=text
    )


def activity(
    *accounts: AccountActivity,
    total: int | None = None,
    failures: tuple[Failure, ...] = (),
    seconds: Mapping[Outcome, tuple[int, ...]] | None = None,
    since: float = NOW - SPAN,
) -> Activity:
    node = NodeInfo(node_id="n", name="myserver@host", pid=1, version="1", started_at=NOW, seen_at=NOW)
    return Activity(
        ts=NOW,
        is_active=True,
        nodes=(node,),
        queue={Status.PENDING: 1200, Status.DEFERRED: 34, Status.SENDING: 5},
        since=since,
        seconds={outcome: counts() for outcome in Outcome} | dict(seconds or {}),
        accounts_total=len(accounts) if total is None else total,
        accounts=accounts,
        failures=failures,
    )


def drawn(
    seen: Activity | None,
    columns: int = 120,
    rows: int | None = None,
    server: Mapping[str, object] = RUNNING,
    *,
    keys: str | None = KEYS,
    order: Order = Order.WAITING,
    trouble: str | None = None,
    tenant_id: str | None = None,
) -> list[str]:
    """The lines as plain text, after checking that each fits."""
    scene = Scene(server, tenant_id, seen, order, trouble, keys)
    lines = picture(scene, columns, rows)
    assert max(line.cell_len for line in lines) <= columns
    return [line.plain.rstrip() for line in lines]


FULL = account(
    "main",
    sent=18003,
    failed=3,
    state=condition(
        LimitUse(seconds=60, limit=40, used=40),
        LimitUse(seconds=3600, limit=10_000, used=3000),
        resting_until=NOW + 30,
        last_error="421 4.7.0 try later",
        waits_since=NOW - 125,
    ),
)


BUSY = activity(
    FULL,
    account("other"),
    failures=(failure(2), failure(1, "a\nb\x1b[31m", NOW - 86_400)),
    seconds={Outcome.SENT: counts(*[2] * 55, *[4] * 5), Outcome.FAILED: counts(3, *[0] * 5)},
)


def test_the_whole() -> None:
    """All that there is, where there is room; what others wrote is harmless."""
    now, soon = hour(NOW), hour(NOW + 30)
    assert drawn(BUSY, 110, 18) == [
        f"myserver  running, up 2h 5m, http://127.0.0.1:8000{now:>60}",
        "nodes     myserver@host",
        "queue     1,200 pending   34 deferred   5 sending",
        "",
        f"          last 6m 40s{'per minute  in 15m':>89}",
        "sent      " + "·" * 68 + "▄" * 11 + "█" + "         130     130",
        "deferred  " + "·" * 80 + "           0       0",
        "failed    " + "·" * 78 + "█·" + "           3       3",
        "",
        "account     waiting  deferred    sent  failed  oldest  limits          circuit",
        "acme/main     1,234        34  18,003       3   2m 5s  40/40 a minute  open     421 4.7.0 try later",
        "acme/other    1,234        34       0       0       -  -               closed",
        "",
        "newest errors",
        f"{hour(NOW - 3)}  acme/main  order-2  550 no such user",
        f"{when(NOW - 86_400).split()[0]}  acme/main  order-1  a b\\x1b[31m",
        "",
        "q quit",
    ]
    assert drawn(BUSY, 132)[10] == (
        "acme/main     1,234        34  18,003       3   2m 5s"
        f"  40/40 a minute, 3,000/10,000 an hour  open until {soon}"
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (80, ["account", "waiting", "deferred", "sent", "failed", "oldest", "limits", "circuit"]),
        (60, ["account", "deferred", "sent", "failed", "limits", "circuit"]),
        (40, ["account", "deferred", "sent", "circuit"]),
        (20, ["a…", "deferred", "sent"]),
        (1, ["…"]),
    ],
)
def test_a_narrow_screen_has_fewer_columns(columns: int, expected: list[str]) -> None:
    """First they become shorter, then those go that can be spared."""
    lines = drawn(BUSY, columns)
    heading = next(line for line in lines if line.startswith(("account", "a… "))) if columns > 1 else lines[0]

    assert heading.split() == expected


def test_the_use_of_limits_where_there_is_little_room() -> None:
    """The fullest limit, and how full it is."""
    lines = [line for line in drawn(BUSY, 60) if line.startswith("acme/")]

    assert [line.split()[-2:] for line in lines[:2]] == [["100%", "open"], ["-", "closed"]]


@pytest.mark.parametrize("columns", [1, 7, 20, 60, 80, 200])
@pytest.mark.parametrize("rows", [1, 2, 5, 6, 8, 10, 12, 14, 16, 18, 24, 60])
def test_a_screen_is_filled_and_its_last_line_tells_the_keys(columns: int, rows: int) -> None:
    """However small it is; `drawn` checks the width."""
    lines = drawn(BUSY, columns, rows, keys="q")

    assert (len(lines), lines[-1]) == (rows, "q")


def test_few_rows_show_accounts_rather_than_rates() -> None:
    """And errors if these leave room."""
    lines = drawn(BUSY, 60, 12)

    assert not [line for line in lines if "per minute" in line]
    assert [line.split()[0] for line in lines if line][3:] == [
        "account",
        "acme/main",
        "acme/other",
        "newest",
        hour(NOW - 3),
        when(NOW - 86_400).split()[0],
        "q",
    ]


def test_more_accounts_than_rows() -> None:
    """Those that come first, how many more there are, and room for the newest errors."""
    many = activity(
        *(account(f"a{i:02}") for i in range(60)),
        total=1000,
        failures=tuple(failure(i) for i in range(20, 0, -1)),
    )
    lines = drawn(many, 80, 24)
    shown = [line.split()[0] for line in lines if line.startswith("acme/")]

    assert shown == [f"acme/a{i:02}" for i in range(7)]
    assert "and 993 more accounts" in lines
    assert [line.split()[2] for line in lines if "550" in line] == ["order-20", "order-19", "order-18"]
    whole = drawn(many)
    assert "and 940 more accounts" in whole
    assert sum("550" in line for line in whole) == 20


def test_what_is_not_known_is_blank() -> None:
    """Of a busy server only the newest events were read."""
    seen = activity(seconds={Outcome.SENT: counts(*[1] * 20)}, since=NOW - 20)
    lines = drawn(seen, 60)

    assert lines[4].endswith("per minute  in 20s")
    assert lines[5] == "sent      " + " " * 26 + "████          20      20"


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((1, 8), "▁█"), ((0, 0), "··"), ((1000, 1), "█▁"), ((4, 8), "▄█")],
)
def test_bars(numbers: tuple[int, int], expected: str) -> None:
    """The highest for the highest number; the least that happened can be seen."""
    first, second = numbers
    seen = activity(seconds={Outcome.SENT: counts(first, 0, 0, 0, 0, second, 0, 0, 0, 0)})

    assert drawn(seen, 60)[5].split()[1][-2:] == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (condition(), "closed"),
        (condition(resting_until=NOW + 5), f"open until {hour(NOW + 5)}"),
        (condition(resting_until=NOW - 5), "open, being tried"),
        (None, "deleted"),
    ],
)
def test_circuits(state: AccountState | None, expected: str) -> None:
    """Closed; open, until a moment or until a message has tried it; none of an account that is gone."""
    seen = activity(replace(FULL, state=state))

    assert drawn(seen, 140)[10].endswith(expected)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (RUNNING, "myserver  running, up 2h 5m, http://127.0.0.1:8000"),
        (STOPPED, "myserver  not running"),
        ({**STOPPED, "state": "unknown", "name": "a"}, "a         unknown"),
    ],
)
def test_the_server(server: Mapping[str, object], expected: str) -> None:
    """It may not run, and there is something to see all the same."""
    assert drawn(activity(), 100, server=server)[0] == f"{expected:<92}{hour(NOW)}"


def test_the_database_is_away() -> None:
    """What was seen last is shown, with its time; or nothing, when nothing was seen yet."""
    lines = drawn(BUSY, trouble=TROUBLE)
    assert lines[1:3] == [f"trouble   {TROUBLE}", f"          what follows was seen at {hour(NOW)}"]
    assert "acme/main" in "\n".join(lines)

    assert drawn(None, 60, 4, trouble=TROUBLE) == [
        "myserver  running, up 2h 5m, http://127.0.0.1:8000",
        f"trouble   {TROUBLE}",
        "",
        KEYS,
    ]


def test_an_instance_in_which_nothing_is() -> None:
    """No accounts, one tenant only, and dispatch suspended."""
    seen = replace(activity(), is_active=False, nodes=())
    lines = drawn(seen, 100, tenant_id="acme", keys=None)

    assert lines[1:4] == [
        "tenant    acme",
        "nodes     -",
        "queue     1,200 pending   34 deferred   5 sending   suspended",
    ]
    assert lines[-1] == "no accounts"


@pytest.mark.parametrize("order", Order)
def test_the_order_is_marked_at_its_column(order: Order) -> None:
    """By an underlined heading."""
    lines = picture(Scene(RUNNING, None, BUSY, order), 120)
    heading = next(line for line in lines if line.plain.startswith("account"))
    marked = [
        heading.plain[span.start : span.end] for span in heading.spans if "underline" in str(span.style)
    ]

    assert [each.strip() for each in marked] == ["account" if order is Order.NAME else order.value]
