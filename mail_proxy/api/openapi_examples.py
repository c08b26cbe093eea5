"""What requests and answers look like, for people and for tests that begin with these."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from mail_proxy.api import responses, schemas
from mail_proxy.services.inputs import AccountInput, BounceInput, InstanceInput, TenantInput
from mail_proxy.services.storage_inputs import StorageInput

PATH_EXAMPLES: Mapping[str, str] = {
    "messages": "order-1",
    "account": "main",
    "storage": "files",
    "tenant": "acme",
    "files": "aXQtaXMtc2lnbmVk",
}
"""By the first part of the path."""

_ACCOUNT: Mapping[str, object] = {
    "id": "main",
    "tenant_id": "acme",
    "host": "smtp.example.com",
    "port": 587,
    "user": "shop@example.com",
    "tls": "starttls",
    "use_tls": None,
    "tls_verify": True,
    "tls_ca": None,
    "from_address": "Shop <shop@example.com>",
    "ttl": 300,
    "batch_size": None,
    "max_concurrent": None,
    "limit_per_minute": 60,
    "limit_per_hour": 0,
    "limit_per_day": 0,
    "limit_behavior": "defer",
    "on_unknown": "retry",
    "is_pec_account": False,
    "imap_host": None,
    "imap_port": 993,
    "imap_user": None,
    "imap_folder": "INBOX",
    "imap_ssl": True,
    "circuit": "closed",
    "last_error": None,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}
_TENANT: Mapping[str, object] = {
    "id": "acme",
    "name": "Acme Ltd",
    "client_base_url": "https://shop.example.com",
    "client_sync_path": "/mail-proxy/sync",
    "client_attachment_path": "/mail-proxy/attachments",
    "client_auth": {"method": "bearer", "token": "***"},
    "rate_limits": {"hourly": 1000, "daily": 0},
    "large_file_config": None,
    "webhook_secret": None,
    "report_nulls": True,
    "active": True,
    "suspended_batches": [],
    "api_key_expires_at": None,
    "created_at": 1767225600,
    "updated_at": 1767225600,
}
_MESSAGE: Mapping[str, object] = {
    "pk": "0b8f2a52-7c6e-4a71-9a0c-4d5b3f1d2c11",
    "id": "order-1",
    "tenant_id": "acme",
    "tenant_name": "Acme Ltd",
    "account_id": "main",
    "status": "sent",
    "priority": 1,
    "batch_code": None,
    "created_at": 1767225600,
    "updated_at": 1767225601,
    "deferred_ts": None,
    "sent_ts": 1767225601,
    "error_ts": None,
    "error": None,
    "retry_count": 0,
    "reported_ts": None,
    "bounce_type": None,
    "bounce_code": None,
    "bounce_reason": None,
    "bounce_ts": None,
    "is_pec": False,
    "message_id": "<9bWb6d0m1Yk.1@example.com>",
    "recipients": [
        {"address": "ann@example.net", "status": "sent", "code": "2.0.0", "reply": "250 2.0.0 OK"}
    ],
    "last_error": None,
    "metadata": {"order": 1},
    "message": {
        "from": "Shop <shop@example.com>",
        "to": ["ann@example.net"],
        "subject": "Your order",
        "body": "It is on its way.",
    },
}
_EVENT = {
    "event_id": 8123,
    "event_type": "sent",
    "event_ts": 1767225601,
    "description": "sent to ann@example.net",
    "event_data": None,
}

_BOUNCES: Mapping[str, object] = {
    "bounce_enabled": True,
    "bounce_imap_host": "imap.example.com",
    "bounce_imap_port": 993,
    "bounce_imap_user": "bounces@example.com",
    "bounce_imap_password": "***",
    "bounce_imap_folder": "INBOX",
    "bounce_imap_ssl": True,
    "bounce_poll_interval": 60,
    "bounce_return_path": "bounces+{token}@example.com",
    "bounce_after": "keep",
}

EXAMPLES: Mapping[type[BaseModel] | None, object] = {
    schemas.SubmissionInput: {
        "messages": [
            {
                "id": "order-1",
                "from": "Shop <shop@example.com>",
                "to": ["ann@example.net"],
                "subject": "Your order",
                "body": "It is on its way.",
                "priority": "high",
                "metadata": {"order": 1},
                "attachments": [{"filename": "invoice.txt", "storage_path": "base64:SW52b2ljZQ=="}],
            },
            {"id": "order-2", "to": "bob@example.net", "subject": "Your order", "body": "It waits for you."},
        ]
    },
    schemas.RunNowInput: {"tenant_id": "acme"},
    schemas.SuspensionInput: {"tenant_id": "acme", "batch_code": "spring"},
    schemas.RetryInput: {"at": "2027-01-01T00:00:00Z"},
    schemas.DeletionInput: {"ids": ["order-1", "order-2"]},
    schemas.CleanupInput: {"older_than_seconds": 86400},
    schemas.ReplayInput: {"since": "2026-01-01T00:00:00Z"},
    StorageInput: {
        "tenant_id": "acme",
        "name": "files",
        "protocol": "s3",
        "config": {
            "bucket": "acme-files",
            "region": "eu-south-1",
            "access_key_id": "AKIAEXAMPLE",
            "secret_access_key": "what-only-you-know",
        },
    },
    InstanceInput: {"name": "Mail of the shop"},
    BounceInput: {
        "bounce_enabled": True,
        "bounce_imap_host": "imap.example.com",
        "bounce_imap_user": "bounces@example.com",
        "bounce_imap_password": "correct horse battery staple",
        "bounce_return_path": "bounces+{token}@example.com",
    },
    schemas.ApiKeyInput: {"expires_at": "2027-01-01T00:00:00Z"},
    AccountInput: {
        "id": "main",
        "host": "smtp.example.com",
        "user": "shop@example.com",
        "password": "correct horse battery staple",
        "from_address": "Shop <shop@example.com>",
        "limit_per_minute": 60,
    },
    TenantInput: {
        "id": "acme",
        "name": "Acme Ltd",
        "client_base_url": "https://shop.example.com",
        "client_auth": {"method": "bearer", "token": "what-your-application-expects"},
        "rate_limits": {"hourly": 1000},
    },
    responses.Answer: {"ok": True},
    responses.Submitted: {
        "ok": True,
        "queued": 1,
        "rejected": [{"id": "order-2", "reason": "already sent"}],
    },
    responses.Message: {"ok": True, **_MESSAGE},
    responses.MessageList: {"ok": True, "messages": [_MESSAGE], "next_cursor": None},
    responses.EventList: {"ok": True, "events": [_EVENT]},
    responses.AccountAnswer: {"ok": True, **_ACCOUNT},
    responses.AccountList: {"ok": True, "accounts": [_ACCOUNT]},
    responses.TenantAnswer: {"ok": True, **_TENANT},
    responses.TenantList: {"ok": True, "tenants": [_TENANT]},
    responses.TenantStored: {"ok": True, "api_key": "aMhCTkGAj7Wa_RG5lCfDC05J3385KGJuJZTwUJcgWuQ"},
    responses.ApiKey: {"ok": True, "api_key": "aMhCTkGAj7Wa_RG5lCfDC05J3385KGJuJZTwUJcgWuQ"},
    responses.ReceiptList: {"ok": True, "receipts": []},
    responses.SuspendedOrSwitched: {
        "ok": True,
        "tenant_id": "acme",
        "batch_code": "spring",
        "suspended_batches": ["spring"],
        "pending_messages": 120,
    },
    responses.Removed: {
        "ok": True,
        "removed": 1,
        "not_found": [],
        "unauthorized": [],
        "refused": [{"id": "order-2", "reason": "being sent"}],
    },
    responses.CleanedUp: {"ok": True, "removed": 42},
    responses.Tested: {
        "ok": True,
        "smtp": {"ok": True, "error": None, "tls": "starttls", "seconds": 0.12},
        "imap": None,
    },
    responses.StorageList: {
        "ok": True,
        "storages": [
            {
                "tenant_id": "acme",
                "name": "files",
                "protocol": "s3",
                "config": {
                    "bucket": "acme-files",
                    "access_key_id": "AKIAEXAMPLE",
                    "secret_access_key": "***",
                },
                "created_at": "2026-01-01T00:00:00Z",
                "updated_at": "2026-01-01T00:00:00Z",
            }
        ],
    },
    responses.BounceAnswer: {"ok": True, **_BOUNCES},
    responses.InstanceAnswer: {"ok": True, "name": "Mail of the shop", **_BOUNCES},
    responses.ReportList: {
        "ok": True,
        "reports": [
            {
                "event_id": 8123,
                "tenant_id": "acme",
                "id": "order-1",
                "pk": "0b8f2a52-7c6e-4a71-9a0c-4d5b3f1d2c11",
                "account_id": "main",
                "event": "sent",
                "event_ts": 1767225601,
                "state": "failing",
                "refusals": 0,
                "again_ts": 1767225642,
                "last_error": "answered 503",
            }
        ],
        "next_cursor": None,
    },
    responses.Replayed: {"ok": True, "replayed": 7},
    responses.SyncList: {
        "ok": True,
        "sync_interval_seconds": 300.0,
        "tenants": [
            {
                "id": "acme",
                "name": "Acme Ltd",
                "active": True,
                "client_base_url": "https://shop.example.com",
                "last_sync_ts": 1767225602,
                "next_sync_due": 1767225902,
                "in_dnd": False,
                "pending_reports": 0,
                "consecutive_failures": 0,
                "last_error": None,
            }
        ],
    },
    responses.CommandList: {
        "ok": True,
        "commands": [
            {
                "command_id": 12,
                "ts": 1767225600,
                "endpoint": "DELETE /account/{id}",
                "path": "/account/main?force=true",
                "tenant_id": "acme",
                "payload": None,
                "status": 200,
                "client": "192.0.2.7",
            }
        ],
        "total": 1,
    },
    responses.Readiness: {"ok": True, "status": "ready"},
    responses.Health: {"ok": True, "status": "ok", "version": "1.0.0", "database": "ok"},
    responses.ServerStatus: {
        "ok": True,
        "active": True,
        "scheduler_active": True,
        "pending_messages": 12,
        "uptime_seconds": 86400,
        "version": "1.0.0",
        "nodes": [
            {
                "node_id": "n-1",
                "name": "mail-1:4711",
                "pid": 4711,
                "version": "1.0.0",
                "started_at": 1767225600,
                "seen_at": 1767312000,
            }
        ],
    },
}
