"""Values as the API shows them: with its names, and never a secret."""

from __future__ import annotations

import base64
import json

import pytest

from mail_proxy.model.accounts import Account, TlsMode
from mail_proxy.model.messages import Event, EventType
from mail_proxy.model.queue import NodeInfo
from mail_proxy.model.tenants import AuthMethod, ClientAuth, RateLimits, Tenant
from mail_proxy.services import views
from tests.support.services import NOW, Desk, message

TENANT = Tenant(
    id="acme",
    name="Acme",
    client_base_url="https://app.example.org",
    client_auth=ClientAuth(method=AuthMethod.BASIC, user="me", password="s3cret"),
    rate_limits=RateLimits(hourly=1, daily=2),
    large_file_config={"enabled": True},
    webhook_secret="s3cret",
    suspended_batches=("*", "news"),
    has_api_key=True,
    api_key_expires_at=NOW + 0.9,
    created_at=NOW + 0.9,
    updated_at=NOW,
)


def test_a_tenant_is_shown_with_stars_for_its_secrets() -> None:
    """All fields of http-api.md; times are whole Unix seconds."""
    assert views.tenant_view(TENANT) == {
        "id": "acme",
        "name": "Acme",
        "client_base_url": "https://app.example.org",
        "client_sync_path": "/mail-proxy/sync",
        "client_attachment_path": "/mail-proxy/attachments",
        "client_auth": {"method": "basic", "user": "me", "password": "***"},
        "rate_limits": {"hourly": 1, "daily": 2},
        "large_file_config": {"enabled": True},
        "webhook_secret": "***",
        "report_nulls": True,
        "active": True,
        "suspended_batches": ["*", "news"],
        "api_key_expires_at": int(NOW),
        "created_at": int(NOW),
        "updated_at": int(NOW),
    }


@pytest.mark.parametrize(
    ("auth", "shown"),
    [
        (ClientAuth(), {"method": "none"}),
        (ClientAuth(method=AuthMethod.BEARER, token="s3cret"), {"method": "bearer", "token": "***"}),
    ],
)
def test_each_way_of_identifying_shows_what_it_uses(auth: ClientAuth, shown: dict[str, str]) -> None:
    """And no more."""
    assert views.tenant_view(Tenant(id="a", client_auth=auth))["client_auth"] == shown


def test_an_account_is_shown_without_passwords() -> None:
    """Not even that there are any; its times are ISO 8601, its TLS mode the one in force."""
    account = Account(
        tenant_id="acme",
        id="main",
        host="smtp.example.org",
        port=465,
        user="me",
        password="s3cret",
        imap_password="s3cret",
        lane=7,
        last_error="535 no",
        created_at=0.0,
        updated_at=NOW,
    )

    view = views.account_view(account)

    assert "s3cret" not in json.dumps(view)
    assert not {"password", "imap_password", "lane", "by_tenant"} & view.keys()
    assert (view["tls"], view["use_tls"], view["created_at"], view["updated_at"], view["last_error"]) == (
        "ssl", None, "1970-01-01T00:00:00Z", "2023-11-14T22:13:20Z", "535 no",
    )  # fmt: skip


def test_a_mode_that_was_said_is_shown() -> None:
    """Whatever the port would imply."""
    account = Account(tenant_id="a", id="b", host="h", port=465, tls=TlsMode.NONE)

    assert views.account_view(account)["tls"] == "none"


async def test_a_message_is_shown_with_all_that_the_contract_names(desk: Desk) -> None:
    """A record of messages.md, with what it carries when that is given."""
    await desk.submit(message(metadata={"order": 7}, deferred_ts=NOW + 60.5, batch_code="b"))
    stored = await desk.services.messages.get("acme", "m")
    payload = await desk.services.messages.payload(stored)

    view = views.message_view(stored, payload, "Acme")

    assert view == {
        "pk": stored.pk,
        "id": "m",
        "tenant_id": "acme",
        "tenant_name": "Acme",
        "account_id": "main",
        "status": "deferred",
        "priority": 2,
        "batch_code": "b",
        "created_at": int(NOW),
        "updated_at": int(NOW),
        "deferred_ts": int(NOW) + 60,
        "sent_ts": None,
        "error_ts": None,
        "error": None,
        "retry_count": 0,
        "reported_ts": None,
        "bounce_type": None,
        "bounce_code": None,
        "bounce_reason": None,
        "bounce_ts": None,
        "is_pec": False,
        "message_id": stored.message_id,
        "recipients": [{"address": "ann@example.net", "status": "pending", "code": None, "reply": None}],
        "last_error": None,
        "metadata": {"order": 7},
        "message": {
            "from": "shop@example.org",
            "to": ["ann@example.net"],
            "subject": "Your order",
            "body": "It is on its way.",
        },
    }
    assert "message" not in views.message_view(stored)


async def test_a_message_is_shown_without_its_files(desk: Desk) -> None:
    """Their names and types are, their contents are left out; of a raw message only its size is shown."""
    content = base64.b64encode(b"s3cret").decode()
    spec = {"filename": "a.txt", "storage_path": f"base64:{content}", "mime_type": "text/plain"}
    raw = base64.b64encode(b"From: a@b.it\nTo: c@d.it\n\ns3cret").decode()
    await desk.submit(message("fields", attachments=[spec]), {"id": "raw", "raw": raw})
    shown = {}
    for name in ("fields", "raw"):
        stored = await desk.services.messages.get("acme", name)
        shown[name] = views.message_view(stored, await desk.services.messages.payload(stored))["message"]

    assert content not in json.dumps(shown)
    assert "s3cret" not in json.dumps(shown)
    assert shown["raw"] == {"raw": True, "size": 31}
    fields = shown["fields"]
    assert isinstance(fields, dict)
    assert fields["attachments"] == [{"filename": "a.txt", "mime_type": "text/plain", "fetch_mode": "base64"}]


def test_an_event_is_shown_as_it_was_recorded() -> None:
    """With its data."""
    event = Event(
        event_id=7,
        event_type=EventType.DEFERRED,
        event_ts=NOW + 0.5,
        description="later",
        event_data={"reason": "452"},
    )

    assert views.event_view(event) == {
        "event_id": 7,
        "event_type": "deferred",
        "event_ts": int(NOW),
        "description": "later",
        "event_data": {"reason": "452"},
    }


def test_a_node_is_shown() -> None:
    """Who and since when."""
    node = NodeInfo(node_id="n", name="a@host", pid=1, version="1", started_at=NOW, seen_at=NOW + 0.5)

    assert views.node_view(node) == {
        "node_id": "n",
        "name": "a@host",
        "pid": 1,
        "version": "1",
        "started_at": int(NOW),
        "seen_at": int(NOW),
    }
