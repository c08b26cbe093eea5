"""Where an account's passwords may go, and who is answerable for its addresses."""

from __future__ import annotations

import pytest

from mail_proxy.errors import InvalidInput
from tests.support.services import Desk
from tests.support.works import ask

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

FULL = {
    "id": "full",
    "host": "smtp.example.org",
    "port": 465,
    "tls": "ssl",
    "tls_verify": False,
    "password": "pw",
    "imap_host": "imap.example.org",
    "imap_port": 143,
    "imap_password": "imappw",
    "imap_ssl": False,
}


async def faults(asked: object) -> set[str]:
    with pytest.raises(InvalidInput) as caught:
        await asked  # type: ignore[misc]  # the coroutine of a service
    return {".".join(str(part) for part in fault.loc) for fault in caught.value.faults}


# Passwords


async def test_three_stars_leave_a_password_as_it_is(desk: Desk) -> None:
    """In a change and in a replacement."""
    await desk.services.accounts.create("acme", FULL)
    stars = {"password": "***", "imap_password": "***"}

    changed = await desk.services.accounts.update("acme", "full", stars)
    assert (changed.password, changed.imap_password) == ("pw", "imappw")
    replaced = await desk.services.accounts.replace("acme", FULL | stars)
    assert (replaced.password, replaced.imap_password) == ("pw", "imappw")


@pytest.mark.parametrize("field", ["password", "imap_password"])
async def test_three_stars_without_a_password(desk: Desk, field: str) -> None:
    """Are not stored as if they were one."""
    stars = {"id": "new", "host": "h", field: "***"}

    assert await faults(desk.services.accounts.create("acme", stars)) == {field}
    assert await faults(desk.services.accounts.replace("acme", stars)) == {field}
    assert await faults(desk.services.accounts.update("acme", "main", {field: "***"})) == {field}


MOVES = [
    ({"host": "evil.example.org"}, "password"),
    ({"port": 2525}, "password"),
    ({"tls": "starttls"}, "password"),
    ({"tls": "none"}, "password"),
    ({"tls_verify": True}, "password"),
    ({"imap_host": "evil.example.org"}, "imap_password"),
    ({"imap_port": 1143}, "imap_password"),
    ({"imap_ssl": True}, "imap_password"),
]


@pytest.mark.parametrize(("move", "secret"), MOVES)
@pytest.mark.parametrize("stars", [False, True])
async def test_a_stored_password_does_not_follow_to_another_address(
    desk: Desk, move: dict[str, object], secret: str, stars: bool
) -> None:
    """Host, port, encryption: a change asks for the password again, and changes nothing without it."""
    old = await desk.services.accounts.create("acme", FULL)
    given = move | {secret: "***"} if stars else move

    assert await faults(desk.services.accounts.update("acme", "full", given)) == {secret}
    if stars:
        assert await faults(desk.services.accounts.replace("acme", FULL | given)) == {secret}
    assert await desk.services.accounts.get("acme", "full") == old


@pytest.mark.parametrize(("move", "secret"), MOVES)
@pytest.mark.parametrize("given", ["new", None])
async def test_a_move_with_the_password_given_again(
    desk: Desk, move: dict[str, object], secret: str, given: str | None
) -> None:
    """Or with none, is a change like any other."""
    await desk.services.accounts.create("acme", FULL)
    if given is None:  # a password that is taken away first
        await desk.services.accounts.update("acme", "full", {secret: None})
        moved = await desk.services.accounts.update("acme", "full", move)
    else:
        moved = await desk.services.accounts.update("acme", "full", move | {secret: given})

    assert getattr(moved, secret) == given


async def test_both_addresses_moved_ask_for_both_passwords(desk: Desk) -> None:
    """At once."""
    await desk.services.accounts.create("acme", FULL)
    asked = desk.services.accounts.update("acme", "full", {"host": "a", "imap_host": "b"})

    assert await faults(asked) == {"password", "imap_password"}


async def test_what_changes_no_address_keeps_the_password(desk: Desk) -> None:
    """Not even a mode said instead of implied."""
    await desk.services.accounts.create("acme", {"id": "implied", "host": "h", "port": 465, "password": "pw"})

    changed = await desk.services.accounts.update(
        "acme", "implied", {"tls": "ssl", "user": "me", "port": 465}
    )

    assert changed.password == "pw"


# Who gave the address


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"host": "theirs.example.org"}, True),
        ({"port": 6379}, True),
        ({"imap_host": "theirs.example.org"}, True),
        ({"imap_port": 6379}, True),
        ({"host": "admins.example.org", "port": 25}, False),
        ({"user": "me"}, False),
    ],
)
async def test_a_tenant_that_changes_an_address_has_given_it(
    desk: Desk, fields: dict[str, object], expected: bool
) -> None:
    """Host or port; one that repeats the admin's has not."""
    given = {"id": "a", "host": "admins.example.org", "port": 25}
    assert not (await desk.services.accounts.create("acme", given)).by_tenant

    assert (await desk.services.accounts.update("acme", "a", fields, by_tenant=True)).by_tenant is expected


async def test_an_account_made_by_a_tenant_is_its_own(desk: Desk) -> None:
    """Created or replaced."""
    given = {"id": "a", "host": "theirs.example.org"}

    assert (await desk.services.accounts.create("acme", given, by_tenant=True)).by_tenant
    assert (await desk.services.accounts.replace("acme", given | {"id": "b"}, by_tenant=True)).by_tenant
    assert not (await desk.services.accounts.replace("acme", given)).by_tenant


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"host": "admins.example.org"}, True),
        ({"host": "admins.example.org", "imap_host": "admins.example.org"}, False),
        ({"host": "admins.example.org", "imap_host": None}, False),
        ({"imap_host": None}, True),
        ({"user": "me"}, True),
    ],
)
async def test_the_admin_is_trusted_for_all_addresses_or_for_none(
    desk: Desk, fields: dict[str, object], expected: bool
) -> None:
    """A tenant's IMAP host does not become trusted when the admin gives the SMTP host."""
    given = {"id": "a", "host": "theirs.example.org", "imap_host": "theirs.example.org"}
    await desk.services.accounts.create("acme", given, by_tenant=True)

    assert (await desk.services.accounts.update("acme", "a", fields)).by_tenant is expected


async def test_a_tenant_cannot_name_a_file_of_the_server(desk: Desk) -> None:
    """Certificates come as text; the admin may name a path."""
    path = {"tls_ca": "/etc/passwd"}

    assert await faults(desk.services.accounts.update("acme", "main", path, by_tenant=True)) == {"tls_ca"}
    made = desk.services.accounts.create("acme", {"id": "new", "host": "h"} | path, by_tenant=True)
    assert await faults(made) == {"tls_ca"}
    assert (await desk.services.accounts.update("acme", "main", path)).tls_ca == "/etc/passwd"
    assert (
        await desk.services.accounts.update("acme", "main", {"tls_ca": PEM}, by_tenant=True)
    ).tls_ca == PEM


async def test_giving_up_encryption_asks_for_the_password_again(desk: Desk) -> None:
    """On a port that implies none, `tls` none beside it says that it may go in clear, and alone nothing."""
    plain = {"id": "plain", "host": "smtp.example.org", "port": 2525, "password": "pw"}
    await desk.services.accounts.create("acme", plain)

    for given in ({"tls": "none"}, {"tls": "none", "password": "***"}):
        kept = await desk.services.accounts.update("acme", "plain", given)
        assert (kept.password, kept.may_be_clear) == ("pw", False)
    changed = await desk.services.accounts.update("acme", "plain", {"tls": "none", "password": "new"})
    assert (changed.password, changed.may_be_clear) == ("new", True)


# Secrets that cannot be decrypted


async def damage(desk: Desk, *columns: str) -> None:
    for column in columns:
        await desk.runtime.store.database.write(
            ask, f"UPDATE accounts SET {column} = 'ENC:AAAA' WHERE id = 'full'"
        )


@pytest.mark.parametrize("given", [{"ttl": 60}, {"password": "***"}, {"imap_password": "new"}])
async def test_a_damaged_password_must_be_given_again(desk: Desk, given: dict[str, object]) -> None:
    """Whatever else is changed: it cannot be kept, and the account must not go on without."""
    await desk.services.accounts.create("acme", FULL)
    await damage(desk, "enc_password")

    assert await faults(desk.services.accounts.update("acme", "full", given)) == {"password"}


@pytest.mark.parametrize("password", ["new", None])
async def test_an_account_whose_passwords_are_damaged_is_mended_by_new_ones(
    desk: Desk, password: str | None
) -> None:
    """Or by none, if that is said; by a change as by a replacement."""
    await desk.services.accounts.create("acme", FULL)
    secrets = {"password": password, "imap_password": password}

    await damage(desk, "enc_password", "enc_imap_password")
    changed = await desk.services.accounts.update("acme", "full", secrets)
    await damage(desk, "enc_password", "enc_imap_password")
    replaced = await desk.services.accounts.replace("acme", FULL | secrets)

    for mended in (changed, replaced):
        assert (mended.password, mended.imap_password, mended.unreadable) == (password, password, frozenset())


async def test_an_account_whose_password_is_damaged_can_be_shown_and_deleted(desk: Desk) -> None:
    """And does not hide those beside it."""
    await desk.services.accounts.create("acme", FULL)
    await damage(desk, "enc_password")

    assert "full" in [each.id for each in await desk.services.accounts.list("acme")]
    assert await desk.services.accounts.delete("acme", "full") == 0
