"""The instance's settings over HTTP, kept for all nodes, and what is not there yet (http-api.md)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mail_proxy.services.inputs import InstanceInput
from tests.support.api import STRANGE, Api, Json, open_api
from tests.support.stores import open_store

SECRET = "b0unce-of-the-tests"
DEFAULTS: Json = {
    "bounce_enabled": False,
    "bounce_imap_host": None,
    "bounce_imap_port": 993,
    "bounce_imap_user": None,
    "bounce_imap_password": None,
    "bounce_imap_folder": "INBOX",
    "bounce_imap_ssl": True,
    "bounce_poll_interval": 60,
    "bounce_return_path": None,
    "bounce_after": "keep",
}
COLLECTING: Json = {
    "bounce_enabled": True,
    "bounce_imap_host": "imap.example.org",
    "bounce_imap_port": 143,
    "bounce_imap_user": "bounce",
    "bounce_imap_password": SECRET,
    "bounce_imap_folder": "Zurückgekommen",
    "bounce_imap_ssl": False,
    "bounce_poll_interval": 300,
    "bounce_return_path": "bounce+{token}@example.org",
    "bounce_after": "move:Done",
}


async def test_settings_have_defaults(api: Api) -> None:
    assert (await api.get("/instance")).body == {"ok": True, "name": None, **DEFAULTS}
    assert (await api.get("/instance/bounce")).body == {"ok": True, **DEFAULTS}


async def test_settings_come_back_without_the_password(api: Api) -> None:
    answer = await api.put("/instance", {"name": "Post office", **COLLECTING})
    shown = {**COLLECTING, "bounce_imap_password": "***"}
    assert (answer.status, answer.body) == (200, {"ok": True, "name": "Post office", **shown})
    assert (await api.get("/instance")).body == answer.body
    assert (await api.get("/instance/bounce")).body == {"ok": True, **shown}
    assert (await api.runtime.services.instance_settings.get()).bounce_imap_password == SECRET


@pytest.mark.parametrize("path", ["/instance", "/instance/bounce"])
async def test_put_changes_what_it_names(api: Api, path: str) -> None:
    before = (await api.put(path, COLLECTING)).body
    for change in ({"bounce_poll_interval": 5}, {"bounce_imap_folder": "INBOX"}, {}):
        after = (await api.put(path, change)).body
        assert after == {**before, **change}
        before = after


async def test_the_part_about_bounces_has_no_name(api: Api) -> None:
    await api.put("/instance", {"name": "Post office"})
    assert "name" not in (await api.put("/instance/bounce", {"name": "Other"})).body
    assert (await api.get("/instance")).body["name"] == "Post office"


async def test_the_name_is_the_configurations_until_one_is_given(sqlite_url: str) -> None:
    async with open_api(sqlite_url, {"GMP_INSTANCE_NAME": "myserver"}) as api:
        for given, name in [({}, "myserver"), ({"name": "Ours"}, "Ours"), ({"name": None}, "myserver")]:
            assert (await api.put("/instance", given)).body["name"] == name


async def test_a_mask_sent_back_keeps_the_password(api: Api) -> None:
    shown = (await api.put("/instance", COLLECTING)).body
    shown["bounce_poll_interval"] = 7
    assert (await api.put("/instance", shown)).body["bounce_poll_interval"] == 7
    assert (await api.runtime.services.instance_settings.get()).bounce_imap_password == SECRET


async def test_a_mask_of_nothing_is_refused(api: Api) -> None:
    answer = await api.put("/instance", {"bounce_imap_password": "***"})
    assert (answer.status, answer.fields) == (422, ["bounce_imap_password"])


@pytest.mark.parametrize("password", [{}, {"bounce_imap_password": "***"}], ids=["kept", "masked"])
@pytest.mark.parametrize(
    "change",
    [{"bounce_imap_host": "evil.example"}, {"bounce_imap_port": 993}, {"bounce_imap_ssl": True}],
)
async def test_the_password_does_not_follow_to_another_server(api: Api, change: Json, password: Json) -> None:
    await api.put("/instance", COLLECTING)
    answer = await api.put("/instance", {**change, **password})
    assert (answer.status, answer.fields) == (422, ["bounce_imap_password"])
    [name] = change
    assert (await api.get("/instance")).body[name] == COLLECTING[name]
    for again in ({"bounce_imap_password": SECRET}, {"bounce_imap_password": None}):
        assert (await api.put("/instance", {**change, **again})).status == 200


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"bounce_enabled": True}, ["bounce_imap_host", "bounce_imap_user"]),
        ({"bounce_enabled": True, "bounce_imap_host": "imap.example.org"}, ["bounce_imap_user"]),
    ],
)
async def test_collecting_needs_a_mailbox(api: Api, given: Json, fields: list[str]) -> None:
    answer = await api.put("/instance", given)
    assert (answer.status, answer.fields) == (422, fields)
    await api.put("/instance", COLLECTING)
    answer = await api.put("/instance/bounce", {"bounce_imap_user": None})
    assert (answer.status, answer.fields) == (422, ["bounce_imap_user"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""),
        ("name", "a\nb"),
        ("bounce_enabled", "yes"),
        ("bounce_imap_host", "a b"),
        ("bounce_imap_port", 0),
        ("bounce_imap_folder", None),
        ("bounce_imap_folder", "a\r\nb"),
        ("bounce_imap_ssl", 1),
        ("bounce_poll_interval", 0),
        ("bounce_poll_interval", 86401),
        ("bounce_return_path", "nobody"),
        ("bounce_return_path", "Ann <ann@example.org>"),
        ("bounce_return_path", "a@{token}.example.org"),
        ("bounce_return_path", "{token}{token}@example.org"),
        ("bounce_after", "burn"),
        ("bounce_after", "move:"),
    ],
)
async def test_a_wrong_value_is_named(api: Api, name: str, value: object) -> None:
    answer = await api.put("/instance", {name: value})
    assert (answer.status, answer.fields) == (422, [name])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bounce_return_path", "bounce@example.org"),
        ("bounce_return_path", "{token}@bounces.example.org"),
        ("bounce_after", "seen"),
        ("bounce_after", "delete"),
    ],
)
async def test_a_right_value_is_taken(api: Api, name: str, value: object) -> None:
    assert (await api.put("/instance/bounce", {name: value})).body[name] == value


async def test_no_value_of_any_field_is_too_much(api: Api) -> None:
    faults = {}
    for name in InstanceInput.model_fields:
        for value in STRANGE:
            answer = await api.put("/instance", {name: value})
            mailbox = ["bounce_imap_host", "bounce_imap_user"]  # wanted by {"bounce_enabled": true}
            if answer.status != 200 and answer.fields not in ([name], mailbox):
                faults[f"{name}={value!r}"] = answer.text
    assert faults == {}


async def test_the_password_is_encrypted_for_its_place(api: Api) -> None:
    await api.put("/instance", COLLECTING)
    kept = await api.runtime.store.settings.get("instance")
    assert isinstance(kept, dict)
    assert kept["bounce_imap_password"].startswith("ENC:")
    assert SECRET not in str(kept)


async def damage(api: Api) -> None:
    """Spoil the password that is stored, and nothing else."""
    kept = await api.runtime.store.settings.get("instance")
    assert isinstance(kept, dict)
    await api.runtime.store.settings.put("instance", kept | {"bounce_imap_password": "ENC:AAAA"})


async def test_settings_whose_password_is_damaged_are_shown(api: Api) -> None:
    before = (await api.put("/instance", COLLECTING)).body
    await damage(api)
    assert (await api.get("/instance")).body == before
    assert (await api.get("/instance/bounce")).status == 200


@pytest.mark.parametrize("path", ["/instance", "/instance/bounce"])
@pytest.mark.parametrize("password", [{}, {"bounce_imap_password": "***"}])
async def test_a_damaged_password_must_be_given_again(api: Api, path: str, password: Json) -> None:
    """Whatever else is changed; or it is taken away, if that is said."""
    await api.put("/instance", COLLECTING)
    await damage(api)
    refused = await api.put(path, {"bounce_poll_interval": 5, **password})
    assert (refused.status, refused.fields) == (422, ["bounce_imap_password"])
    assert "must be given again: what is stored cannot be decrypted" in refused.text
    given = {"bounce_imap_host": "elsewhere.example.org", "bounce_imap_password": SECRET}
    assert (await api.put(path, given)).body["bounce_imap_host"] == "elsewhere.example.org"
    assert (await api.runtime.services.instance_settings.get()).bounce_imap_password == SECRET

    await damage(api)
    assert (await api.put(path, {"bounce_imap_password": None})).body["bounce_imap_password"] is None
    assert (await api.put(path, {"bounce_poll_interval": 5})).status == 200


async def test_without_a_key_no_password_is_stored(sqlite_url: str) -> None:
    async with open_api(sqlite_url, with_key=False) as api:
        assert (await api.put("/instance", {"bounce_imap_password": SECRET})).status == 503
        assert (await api.put("/instance", {"name": "Ours"})).body["name"] == "Ours"


async def test_nodes_that_change_different_settings_at_once_lose_none(postgres_url: str) -> None:
    """Even the first time, when there is no row to wait for; and each sees at once what the other set."""
    async with open_store(postgres_url) as one, open_store(postgres_url) as other:
        await asyncio.gather(
            *(
                one.instance_settings.change(lambda old: replace(old, bounce_poll_interval=7))
                for _ in range(5)
            ),
            *(other.instance_settings.change(lambda old: replace(old, name="Ours")) for _ in range(5)),
        )
        for node in (one, other):
            settings = await node.instance_settings.get()
            assert (settings.name, settings.bounce_poll_interval) == ("Ours", 7)


@pytest.mark.parametrize("path", ["/instance/bounce/reload", "/instance/reload-bounce"])
async def test_reloading_rings_for_every_node(api: Api, path: str) -> None:
    assert (await api.post(path)).body == {"ok": True}
    assert api.bell.rings == [False]


async def test_a_change_rings_by_itself(api: Api) -> None:
    await api.put("/instance/bounce", COLLECTING)
    assert api.bell.rings == [False]


async def test_a_tenants_token_does_not_open_them(api: Api) -> None:
    key = await api.add_tenant("acme")
    answers = [
        await api.get("/instance", token=key),
        await api.put("/instance", {}, token=key),
        await api.get("/instance/bounce", token=key),
        await api.put("/instance/bounce", {}, token=key),
        await api.post("/instance/bounce/reload", token=key),
        await api.post("/instance/reload-bounce", token=key),
    ]
    assert [answer.status for answer in answers] == [403] * 6


@pytest.mark.parametrize("token", ["x", "a" * 5000, "%00", "..%2f..%2fetc%2fpasswd", "%ff%fe", "é"])
async def test_there_is_no_large_file(api: Api, token: str) -> None:
    """To whoever asks: this version makes no links. Nothing of what was asked for comes back."""
    for given in (None, "wrong"):
        answer = await api.get(f"/files/{token}", token=given)
        assert (answer.status, answer.body["ok"]) == (404, False)
        assert "etc" not in answer.text
