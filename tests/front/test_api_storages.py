"""Storages over HTTP: kept, checked, never shown with their secrets (contract: attachments.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from mail_proxy.store.database import Call, Row, Work
from tests.support.api import STRANGE, Api, Json, open_api
from tests.support.stores import statement

SECRET = "s3cret-of-the-tests"
KEY_FILE = {"type": "service_account", "client_email": "a@b.example", "private_key": SECRET}

LOCAL: Json = {"name": "disk", "protocol": "local", "config": {"base_path": "/srv/files"}}
S3: Json = {
    "name": "minio",
    "protocol": "s3",
    "config": {
        "bucket": "files",
        "prefix": "mail/",
        "endpoint_url": "https://minio.example.org:9000",
        "region": "eu-south-1",
        "access_key_id": "AKIA1",
        "secret_access_key": SECRET,
    },
}
GCS: Json = {
    "name": "google",
    "protocol": "gcs",
    "config": {"bucket": "files", "service_account_key": KEY_FILE},
}
AZURE: Json = {
    "name": "blobs",
    "protocol": "azure",
    "config": {"container": "files", "account_name": "acmefiles", "account_key": SECRET},
}
SAS: Json = {
    "name": "signed",
    "protocol": "azure",
    "config": {"container": "files", "account_name": "acmefiles", "sas_token": SECRET},
}
REMOTE = (S3, GCS, AZURE, SAS)


def with_config(storage: Json, **changes: object) -> Json:
    """The storage with other values; those that are None are left out."""
    config = {name: value for name, value in {**storage["config"], **changes}.items() if value is not None}
    return {**storage, "config": config}


async def stored(api: Api) -> Mapping[str, tuple[Mapping[str, str], bool]]:
    """What is really kept: configuration and whether a tenant gave it, by name."""
    return {
        each.name: (each.config, each.by_tenant) for each in await api.runtime.services.storages.list("acme")
    }


async def run(api: Api, sql: str) -> Sequence[Row]:
    """Look into the tables, or change them behind the store's back."""

    def work() -> Work[Sequence[Row]]:
        return (yield Call(statement(sql), {}))

    return await api.runtime.store.database.write(work)


async def test_a_storage_of_each_protocol_is_kept_and_shown_without_its_secrets(api: Api) -> None:
    await api.add_tenant("acme")
    for storage in (LOCAL, *REMOTE):
        answer = await api.post("/storage", {"tenant_id": "acme", **storage})
        assert (answer.status, answer.body) == (200, {"ok": True})
    answer = await api.get("/storages?tenant_id=acme")
    assert SECRET not in answer.text
    shown = {each["name"]: each for each in answer.body["storages"]}
    assert list(shown) == ["blobs", "disk", "google", "minio", "signed"]
    assert shown["minio"]["config"] == {**S3["config"], "secret_access_key": "***"}
    assert shown["disk"]["config"] == LOCAL["config"]
    assert shown["google"]["config"] == {"bucket": "files", "service_account_key": "***"}
    assert shown["signed"]["config"]["sas_token"] == "***"
    assert {name for each in shown.values() for name in each} == {
        "tenant_id", "name", "protocol", "config", "created_at", "updated_at",
    }  # fmt: skip
    assert shown["minio"]["created_at"].endswith("Z")


async def test_lists_and_names_are_a_tenants_own(api: Api) -> None:
    """The same name may be another tenant's; the admin sees all, and means `default` when naming none."""
    key, other = await api.add_tenant("acme"), await api.add_tenant("beta")
    for token in (key, other):
        assert (await api.post("/storage", S3, token=token)).status == 200
    await api.post("/storage", LOCAL)
    everything = (await api.get("/storages")).body["storages"]
    assert [(each["tenant_id"], each["name"]) for each in everything] == [
        ("acme", "minio"), ("beta", "minio"), ("default", "disk"),
    ]  # fmt: skip
    of_acme = (await api.get("/storages", token=key)).body["storages"]
    assert [each["tenant_id"] for each in of_acme] == ["acme"]

    assert (await api.delete("/storage/disk", token=key)).status == 404
    assert (await api.delete("/storage/minio", token=key)).body == {"ok": True}
    assert (await api.delete("/storage/disk")).body == {"ok": True}
    left = (await api.get("/storages")).body["storages"]
    assert [each["tenant_id"] for each in left] == ["beta"]


@pytest.mark.parametrize("tenant_id", ["beta", "absent"])
async def test_a_tenant_reaches_no_other_tenants_storages(api: Api, tenant_id: str) -> None:
    """Whether there is such a tenant or not."""
    key, other = await api.add_tenant("acme"), await api.add_tenant("beta")
    await api.post("/storage", S3, token=other)
    answers = [
        await api.post("/storage", {"tenant_id": tenant_id, **S3}, token=key),
        await api.get(f"/storages?tenant_id={tenant_id}", token=key),
        await api.delete(f"/storage/minio?tenant_id={tenant_id}", token=key),
    ]
    assert {(each.status, each.body["error"]) for each in answers} == {
        (401, "Token not authorized for this tenant")
    }


async def test_unknown_storages_and_tenants_are_404(api: Api) -> None:
    assert (await api.delete("/storage/absent")).body["error"] == "no storage 'absent'"
    assert (await api.post("/storage", {"tenant_id": "absent", **S3})).status == 404


async def test_post_replaces_the_whole_configuration(api: Api) -> None:
    await api.add_tenant("acme")
    await api.post("/storage?tenant_id=acme", S3)
    api.clock.ahead = 60
    await api.post("/storage?tenant_id=acme", {**GCS, "name": "minio"})
    [shown] = (await api.get("/storages?tenant_id=acme")).body["storages"]
    assert (shown["protocol"], shown["config"]["bucket"]) == ("gcs", "files")
    assert shown["created_at"] < shown["updated_at"]


@pytest.mark.parametrize("storage", REMOTE, ids=lambda each: str(each["name"]))
async def test_a_mask_sent_back_keeps_the_secret(api: Api, storage: Json) -> None:
    """What was read can be written again, with something else changed."""
    await api.add_tenant("acme")
    await api.post("/storage?tenant_id=acme", storage)
    [shown] = (await api.get("/storages?tenant_id=acme")).body["storages"]
    before = await stored(api)
    answer = await api.post("/storage?tenant_id=acme", with_config(shown, prefix="elsewhere"))
    assert answer.status == 200, answer.text
    config, _ = (await stored(api))[storage["name"]]
    assert config == {**before[storage["name"]][0], "prefix": "elsewhere"}
    assert SECRET in "".join(config.values())


@pytest.mark.parametrize(
    ("storage", "secret", "change"),
    [
        (S3, "secret_access_key", {"endpoint_url": "https://evil.example"}),
        (S3, "secret_access_key", {"endpoint_url": None}),
        (S3, "secret_access_key", {"bucket": "other"}),
        (S3, "secret_access_key", {"access_key_id": "AKIA2"}),
        (GCS, "service_account_key", {"bucket": "other"}),
        (AZURE, "account_key", {"endpoint": "https://evil.example"}),
        (AZURE, "account_key", {"account_name": "others"}),
        (SAS, "sas_token", {"container": "other"}),
    ],
)
async def test_a_secret_does_not_follow_to_another_address(
    api: Api, storage: Json, secret: str, change: Json
) -> None:
    await api.add_tenant("acme")
    await api.post("/storage?tenant_id=acme", storage)
    moved = with_config(storage, **{secret: "***", **change})
    answer = await api.post("/storage?tenant_id=acme", moved)
    assert (answer.status, answer.fields) == (422, [f"config.{secret}"])
    assert (await stored(api))[storage["name"]][0].get(next(iter(change))) == storage["config"].get(
        next(iter(change))
    )
    given_again = with_config(storage, **{secret: storage["config"][secret], **change})
    assert (await api.post("/storage?tenant_id=acme", given_again)).status == 200


@pytest.mark.parametrize(
    "storage", [with_config(S3, secret_access_key="***"), with_config(AZURE, account_key="***")]
)
async def test_a_mask_of_nothing_is_refused(api: Api, storage: Json) -> None:
    """Nor does a secret of one protocol stand for one of another."""
    for existing in (None, {**GCS, "name": storage["name"]}):
        if existing is not None:
            await api.post("/storage", existing)
        answer = await api.post("/storage", storage)
        assert (answer.status, len(answer.fields)) == (422, 1)


async def test_local_storages_are_the_admins_alone(api: Api) -> None:
    key = await api.add_tenant("acme")
    answer = await api.post("/storage", LOCAL, token=key)
    assert (answer.status, "local" in answer.body["error"]) == (403, True)
    assert (await api.post("/storage", {"tenant_id": "acme", **LOCAL})).status == 200


@pytest.mark.parametrize(
    ("storage", "left_out"),
    [
        (S3, ["access_key_id", "secret_access_key"]),
        (GCS, ["service_account_key"]),
        (AZURE, ["account_key"]),
        (SAS, ["sas_token"]),
    ],
)
async def test_the_machines_own_credentials_are_the_admins_alone(
    api: Api, storage: Json, left_out: list[str]
) -> None:
    key = await api.add_tenant("acme")
    ambient = with_config(storage, **dict.fromkeys(left_out))
    answer = await api.post("/storage", ambient, token=key)
    assert answer.status == 422
    assert all(name.startswith("config.") for name in answer.fields)
    assert (await api.post("/storage", ambient)).status == 200


async def test_what_a_tenants_token_gives_is_remembered_as_the_tenants(api: Api) -> None:
    """Addresses that a tenant gives are not trusted (security.md); the admin's own words stay his."""
    key = await api.add_tenant("acme")
    await api.post("/storage", S3, token=key)
    await api.post("/storage?tenant_id=acme", GCS)
    await api.post("/storage?tenant_id=acme", AZURE)
    assert {name: given for name, (_, given) in (await stored(api)).items()} == {
        "minio": True, "google": False, "blobs": False,
    }  # fmt: skip
    await api.post("/storage", with_config(GCS, prefix="a"), token=key)
    await api.post("/storage", with_config(AZURE, endpoint="https://theirs.example"), token=key)
    await api.post("/storage?tenant_id=acme", S3)
    assert {name: given for name, (_, given) in (await stored(api)).items()} == {
        "minio": False, "google": False, "blobs": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, ["name", "protocol", "config"]),
        ({**S3, "name": "a:b"}, ["name"]),
        ({**S3, "protocol": "ftp"}, ["protocol"]),
        ({**S3, "config": {}}, ["config.bucket"]),
        ({**S3, "config": None}, ["config"]),
        ({**S3, "config": "s3://x"}, ["config"]),
        (with_config(S3, bukket="x", colour="y"), ["config.bukket", "config.colour"]),
        (
            with_config(S3, endpoint_url="file:///etc", region="a\nb"),
            ["config.endpoint_url", "config.region"],
        ),
        (with_config(S3, secret_access_key=None), ["config.secret_access_key"]),
        (with_config(S3, access_key_id=None), ["config.access_key_id"]),
        (with_config(S3, prefix="../x"), ["config.prefix"]),
        (with_config(LOCAL, base_path="files"), ["config.base_path"]),
        (with_config(LOCAL, base_path="/srv/../etc"), ["config.base_path"]),
        (with_config(LOCAL, bucket="x"), ["config.bucket"]),
        (with_config(GCS, service_account_key="{"), ["config.service_account_key"]),
        (with_config(GCS, service_account_key={"client_email": "x"}), ["config.service_account_key"]),
        (with_config(AZURE, sas_token="x"), ["config.sas_token"]),
        (with_config(AZURE, account_name="A/b"), ["config.account_name"]),
    ],
)
async def test_every_fault_is_named(api: Api, given: Json, fields: list[str]) -> None:
    """A name that the protocol does not know is refused, not ignored; no secret is repeated."""
    answer = await api.post("/storage", given)
    assert (answer.status, answer.fields) == (422, fields)
    assert SECRET not in answer.text
    assert (await api.get("/storages")).body["storages"] == []


async def test_a_key_file_may_be_given_as_text(api: Api) -> None:
    await api.add_tenant("acme")
    text = '{"client_email": "a@b.example", "private_key": "k"}'
    assert (
        await api.post("/storage?tenant_id=acme", with_config(GCS, service_account_key=text))
    ).status == 200
    assert (await stored(api))["google"][0]["service_account_key"] == text


async def test_configurations_are_encrypted_for_their_place(api: Api) -> None:
    """Neither address nor secret can be read in the table, and a row copied elsewhere does not open."""
    await api.post("/storage", S3)
    [row] = await run(api, "SELECT enc_config FROM storages")
    assert row["enc_config"].startswith("ENC:")
    await run(
        api,
        "INSERT INTO storages (tenant_id, name, protocol, enc_config, by_tenant, created_at, updated_at) "
        "SELECT tenant_id, 'copy', protocol, enc_config, by_tenant, created_at, updated_at FROM storages",
    )
    answer = await api.get("/storages")
    assert (answer.status, SECRET in answer.text) == (200, False)
    assert {each["name"]: each["config"] is None for each in answer.body["storages"]} == {
        "copy": True,
        "minio": False,
    }


DAMAGE = "UPDATE storages SET enc_config = 'ENC:AAAA' WHERE name = 'minio'"


async def test_a_storage_that_is_damaged_is_shown_without_its_configuration(api: Api) -> None:
    """It hides no other, and can be deleted."""
    for each in (S3, AZURE):
        await api.post("/storage", each)
    await run(api, DAMAGE)
    blobs, damaged = (await api.get("/storages")).body["storages"]
    assert (blobs["name"], blobs["config"]["container"]) == ("blobs", "files")
    assert (damaged["name"], damaged["protocol"], damaged["config"]) == ("minio", "s3", None)
    assert (await api.delete("/storage/minio")).status == 200
    assert [each["name"] for each in (await api.get("/storages")).body["storages"]] == ["blobs"]


async def test_a_storage_that_is_damaged_must_be_given_again_whole(api: Api) -> None:
    """A mask stands for nothing that could be read, and what is shown is no configuration."""
    await api.post("/storage", S3)
    await run(api, DAMAGE)
    refused = await api.post("/storage", with_config(S3, secret_access_key="***"))
    assert (refused.status, refused.fields) == (422, ["config.secret_access_key"])
    assert "must be given again: what is stored cannot be decrypted" in refused.text
    assert (await api.post("/storage", {**S3, "config": None})).status == 422
    assert (await api.post("/storage", S3)).status == 200
    [mended] = await api.runtime.services.storages.list()
    assert (mended.config, mended.is_unreadable) == (S3["config"], False)


async def test_without_a_key_nothing_is_stored(sqlite_url: str) -> None:
    async with open_api(sqlite_url, with_key=False) as api:
        answer = await api.post("/storage", S3)
        assert (answer.status, "key" in answer.body["error"]) == (503, True)
        assert (await api.get("/storages")).body["storages"] == []


async def test_a_tenants_storages_go_with_it(api: Api) -> None:
    key = await api.add_tenant("acme")
    await api.post("/storage", S3, token=key)
    await api.delete("/tenant/acme")
    assert (await api.get("/storages")).body["storages"] == []


@pytest.mark.parametrize("storage", [LOCAL, *REMOTE], ids=lambda each: str(each["name"]))
async def test_no_value_of_any_field_is_too_much(api: Api, storage: Json) -> None:
    """A strange value is taken or refused with the field named, never an error of the server."""
    faults = {}
    for name in storage["config"]:
        for value in STRANGE:
            answer = await api.post("/storage", {**storage, "config": {**storage["config"], name: value}})
            if answer.status != 200 and answer.fields != [f"config.{name}"]:
                faults[f"{name}={value!r}"] = answer.text
    for name in ("name", "protocol", "config", "tenant_id"):
        for value in STRANGE:
            answer = await api.post("/storage", {**storage, name: value})
            if answer.status != 200 and answer.fields[0].partition(".")[0] != name:
                faults[f"{name}={value!r}"] = answer.text
    assert faults == {}
