"""What ``--json`` prints, as JSON Schema: the values that commands share, each key with a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mail_proxy.model.accounts import Circuit, LimitBehavior, OnUnknown, TlsMode
from mail_proxy.model.activity import Outcome
from mail_proxy.model.explanations import Reason
from mail_proxy.model.findings import Level
from mail_proxy.model.messages import EventType, RecipientStatus, Status
from mail_proxy.model.reports import ReportState
from mail_proxy.model.storages import StorageProtocol
from mail_proxy.model.tenants import AuthMethod

Shape = dict[str, Any]  # JSON Schema is as deep as what it describes


def of(kind: str, doc: str, *, null: bool = False, **more: object) -> Shape:
    """A value of one of JSON's types; `null`: or null."""
    return {"type": [kind, "null"] if null else kind, **more, "description": doc}


def text(doc: str, *, null: bool = False, **more: object) -> Shape:
    return of("string", doc, null=null, **more)


def whole(doc: str, *, null: bool = False, **more: object) -> Shape:
    return of("integer", doc, null=null, **more)


def number(doc: str, *, null: bool = False) -> Shape:
    return of("number", doc, null=null)


def flag(doc: str, *, null: bool = False) -> Shape:
    return of("boolean", doc, null=null)


def moment(doc: str, *, null: bool = True) -> Shape:
    return whole(f"{doc} Unix seconds.", null=null)


def date(doc: str) -> Shape:
    return text(f"{doc} ISO 8601, UTC.", format="date-time")


def one_of(choices: Iterable[str], doc: str, *, null: bool = False) -> Shape:
    values: list[str | None] = [str(choice) for choice in choices]
    return {"enum": [*values, None] if null else values, "description": doc}


def anything(doc: str) -> Shape:
    return {"description": doc}


def record(doc: str, keys: Mapping[str, Shape], *, null: bool = False, optional: Iterable[str] = ()) -> Shape:
    """An object with these keys and no others, all there but the optional ones."""
    return of(
        "object",
        doc,
        null=null,
        properties=dict(keys),
        required=[key for key in keys if key not in set(optional)],
        additionalProperties=False,
    )


def listing(doc: str, items: Shape) -> Shape:
    return of("array", doc, items=items)


def counts(doc: str, names: Iterable[str]) -> Shape:
    """A number for each name."""
    return record(doc, {str(name): whole(f"How many are {name}.", minimum=0) for name in names})


TENANT = {
    "id": text("Its id."),
    "name": text("Its name for people.", null=True),
    "client_base_url": text("Where its application is reached.", null=True),
    "client_sync_path": text("Where reports are posted, under the base URL."),
    "client_attachment_path": text("Where attachments are fetched, under the base URL."),
    "client_auth": record(
        "How mail-proxy logs in at the application; null if that cannot be decrypted.",
        {
            "method": one_of(AuthMethod, "The way of logging in."),
            "token": text("Stars for the token, with bearer."),
            "user": text("The user, with basic.", null=True),
            "password": text("Stars for the password, with basic."),
        },
        null=True,
        optional=("token", "user", "password"),
    ),
    "rate_limits": record(
        "Messages it may send; 0 is no limit.",
        {"hourly": whole("In an hour.", minimum=0), "daily": whole("In a day.", minimum=0)},
    ),
    "large_file_config": of("object", "What is done with large attachments.", null=True),
    "webhook_secret": text("Stars if its reports are signed.", null=True),
    "report_nulls": flag("Whether reports name what is null."),
    "active": flag("Whether it may hand in messages."),
    "suspended_batches": listing("The batches held back; * is all.", text("A batch code, or *.")),
    "api_key_expires_at": moment("When its API key stops to open."),
    "created_at": moment("When it was added.", null=False),
    "updated_at": moment("When it was changed last.", null=False),
}

TLS = "How the connection is protected."

ACCOUNT = {
    "id": text("Its id."),
    "tenant_id": text("The tenant it belongs to."),
    "host": text("The SMTP server; sandbox keeps the mail in a directory."),
    "port": whole("The server's port."),
    "user": text("The user for the login.", null=True),
    "tls": one_of(TlsMode, TLS),
    "use_tls": flag("The older name for the same, as it was given.", null=True),
    "tls_verify": flag("Whether the server's certificate is checked."),
    "tls_ca": text("The certificates that are trusted instead of the system's, in PEM.", null=True),
    "from_address": text("The sender of messages that have none.", null=True),
    "ttl": whole("Seconds for which a connection is kept."),
    "batch_size": whole("Messages taken for it at a time.", null=True),
    "max_concurrent": whole("Connections at a time, at most.", null=True),
    "limit_per_minute": whole("Messages in a minute, at most; none is no limit.", null=True),
    "limit_per_hour": whole("Messages in an hour, at most; none is no limit.", null=True),
    "limit_per_day": whole("Messages in a day, at most; none is no limit.", null=True),
    "limit_behavior": one_of(LimitBehavior, "What becomes of a message over a limit."),
    "on_unknown": one_of(OnUnknown, "What to do when the server's last answer never came."),
    "is_pec_account": flag("Whether it sends certified mail (PEC)."),
    "imap_host": text("The server of its mailbox.", null=True),
    "imap_port": whole("The port of that.", null=True),
    "imap_user": text("The user of that.", null=True),
    "imap_folder": text("The folder that is read.", null=True),
    "imap_ssl": flag("Whether that connection begins with TLS.", null=True),
    "circuit": one_of(Circuit, "Open while it rests after failures."),
    "last_error": text("Why it rests.", null=True),
    "created_at": date("When it was added."),
    "updated_at": date("When it was changed last."),
}

RECIPIENT = record(
    "One recipient, and what became of the message for it.",
    {
        "address": text("The address."),
        "status": one_of(RecipientStatus, "What became of it."),
        "code": text("The code of the server's answer.", null=True),
        "reply": text("The server's words.", null=True),
    },
)

MESSAGE = {
    "pk": text("Its id in this instance, for all time."),
    "id": text("The id that the application gave it."),
    "tenant_id": text("The tenant that handed it in."),
    "tenant_name": text("The name of that.", null=True),
    "account_id": text("The account that sends it."),
    "status": one_of(Status, "Where it is."),
    "priority": whole("0 is immediate, 3 is low.", minimum=0, maximum=3),
    "batch_code": text("The batch it belongs to.", null=True),
    "created_at": moment("When it was queued.", null=False),
    "updated_at": moment("When something happened to it last.", null=False),
    "deferred_ts": moment("Not before this moment it is tried."),
    "sent_ts": moment("When it was sent."),
    "error_ts": moment("When it failed."),
    "error": text("Why it failed.", null=True),
    "retry_count": whole("Attempts that failed.", minimum=0),
    "reported_ts": moment("When its application was told of its end."),
    "bounce_type": text("What kind of bounce came back.", null=True),
    "bounce_code": text("The code in the bounce.", null=True),
    "bounce_reason": text("The words in the bounce.", null=True),
    "bounce_ts": moment("When the bounce came."),
    "is_pec": flag("Whether it is certified mail (PEC)."),
    "message_id": text("Its Message-ID."),
    "recipients": listing("Its recipients.", RECIPIENT),
    "last_error": text("What the server said last when it was tried in vain.", null=True),
    "metadata": anything("What the application gave along, as it was."),
}

EVENT = {
    "event_id": whole("Its number; later ones are higher."),
    "event_type": one_of(EventType, "What happened."),
    "event_ts": moment("When.", null=False),
    "description": text("In words.", null=True),
    "event_data": of("object", "More about it.", null=True),
}

CAUSE = record(
    "One reason why it waits, or where it is.",
    {
        "reason": one_of(Reason, "The reason, in a word."),
        "since": moment("Since when."),
        "until": moment("Until when, about; null if nobody knows."),
        "detail": text("Which batch or limit, or what the server said.", null=True),
    },
)

EXPLANATION = {
    "id": text("The message's id."),
    "tenant_id": text("Its tenant."),
    "account_id": text("Its account."),
    "status": one_of(Status, "Where it is."),
    "reason": one_of(Reason, "What decides, in a word."),
    "since": moment("Since when that is so."),
    "until": moment("Until when, about."),
    "reasons": listing("All reasons, what decides first.", CAUSE),
    "ahead": whole("Messages that go before it.", null=True),
    "more_ahead": flag("Whether there are more than could be counted."),
    "retry_count": whole("Attempts that failed.", minimum=0),
    "attempts_left": whole("Attempts that are left.", null=True),
    "last_error": text("What the server said last.", null=True),
    "account": record(
        "How its account fares; null for a message that has left.",
        {
            "circuit": one_of(Circuit, "Open while the account rests after failures."),
            "resting_until": moment("Until when it rests."),
            "ill_since": moment("Since when it has failed."),
            "last_error": text("Why.", null=True),
        },
        null=True,
    ),
    "limits": listing(
        "The rate limits that are reached.",
        record(
            "One of them.",
            {
                "limit": text("Which, in words."),
                "taken": whole("Messages counted."),
                "frees_at": moment("When there is room again, about.", null=False),
            },
        ),
    ),
    "sender": record(
        "The server that has it in hand.",
        {
            "node_id": text("Its id."),
            "name": text("Its name, if it is still known.", null=True),
            "alive": flag("Whether it has been heard of lately."),
            "lease_until": moment("Until when it may keep the message."),
            "begun_at": moment("When it began to transmit the content."),
        },
        null=True,
    ),
}

UNTOLD = {
    "event_id": whole("The event's number."),
    "tenant_id": text("The tenant whose application is to be told."),
    "id": text("The message's id."),
    "pk": text("The message's id in this instance."),
    "account_id": text("The account that sent it."),
    "event": one_of(EventType, "What happened."),
    "event_ts": moment("When.", null=False),
    "state": one_of(ReportState, "Why the application does not know."),
    "refusals": whole("How often it refused to be told."),
    "again_ts": moment("When it is told again; null: as soon as possible, or never."),
    "last_error": text("What it answered.", null=True),
}

STORAGE = {
    "tenant_id": text("The tenant it belongs to."),
    "name": text("Its name."),
    "protocol": one_of(StorageProtocol, "What it is."),
    "config": of(
        "object",
        "Where it is, by the names of the options; stars for secrets; null if it cannot be decrypted.",
        null=True,
        additionalProperties={"type": "string"},
    ),
    "created_at": date("When it was added."),
    "updated_at": date("When it was changed last."),
}

SERVER = {
    "name": text("The instance's name."),
    "state": one_of(("running", "starting", "stopped", "unknown"), "Whether it has a server."),
    "host": text("Where that listens, or would.", null=True),
    "port": whole("On which port; 0 is any free one.", null=True),
    "pid": whole("The server's process.", null=True),
    "url": text("Where it is reached.", null=True),
    "started_at": number("When it was started, in Unix seconds.", null=True),
    "uptime_seconds": whole("For how long it has run.", null=True),
    "database": one_of(("sqlite", "postgresql", "?"), "What its database is; ? if its settings do not tell."),
    "error": text("What is wrong with its settings or its database, if anything is."),
}

QUEUE = {
    "active": flag("Whether it sends; false while it is suspended."),
    "queue": of(
        "object",
        "How many messages wait, by status; those of which there are none are left out.",
        propertyNames={"enum": [str(status) for status in Status if status.is_waiting]},
        additionalProperties={"type": "integer", "minimum": 1},
    ),
    "pending_messages": whole("How many messages have still to leave.", minimum=0),
    "last_error": text("Which accounts rest, and why.", null=True),
}

NODE = record(
    "One server.",
    {
        "node_id": text("Its id."),
        "name": text("Its name."),
        "pid": whole("Its process."),
        "version": text("Its version."),
        "started_at": moment("When it was started."),
        "seen_at": moment("When it was heard of last."),
    },
)

ACCOUNT_ACTIVITY = record(
    "One account: what waits for it, and what became of its messages in the last 15 minutes.",
    {
        "tenant_id": text("Its tenant."),
        "account_id": text("Its id."),
        **{str(status): whole(f"Messages that are {status}.") for status in Status if status.is_waiting},
        "sent": whole("Messages sent."),
        "failed": whole("Messages that failed."),
        "deferrals": whole("Attempts put off."),
        "circuit": one_of(Circuit, "Open while it rests; null if it was deleted.", null=True),
        "resting_until": moment("Until when it rests."),
        "last_error": text("Why.", null=True),
        "limits": listing(
            "How its rate limits are used.",
            record(
                "One of them.",
                {
                    "seconds": whole("The length of time it is about."),
                    "limit": whole("Messages in that, at most."),
                    "used": whole("Messages in the last so many seconds."),
                },
            ),
        ),
        "oldest_seconds": whole("For how long its oldest message has waited.", null=True),
    },
)

ACTIVITY = {
    "tenant_id": text("The one tenant that was asked for.", null=True),
    "ts": moment("When this was seen.", null=False),
    "active": flag("Whether the instance sends; false while it is suspended."),
    "nodes": listing("The servers on its database.", NODE),
    "queue": counts("Messages that have still to leave.", (each for each in Status if each.is_waiting)),
    "since": moment("Since when there are rates; before, they are not known."),
    "rates": record(
        "Messages in each of the last 15 minutes, the oldest first.",
        {str(each): listing(f"How many were {each}.", {"type": "integer"}) for each in Outcome},
    ),
    "accounts_total": whole("How many accounts there are."),
    "accounts": listing("The busiest.", ACCOUNT_ACTIVITY),
    "errors": listing(
        "The newest errors.",
        record(
            "One of them.",
            {
                "event_ts": moment("When.", null=False),
                "tenant_id": text("Whose message."),
                "account_id": text("By which account."),
                "id": text("Which message."),
                "error": text("What was wrong.", null=True),
            },
        ),
    ),
}

COMMAND = {
    "command_id": whole("Its number; later ones are higher."),
    "ts": moment("When it was asked.", null=False),
    "endpoint": text("The endpoint, by its name."),
    "path": text("The path, with the query."),
    "tenant_id": text("The tenant it was about.", null=True),
    "payload": anything("The body, without secrets and contents of messages."),
    "status": whole("The HTTP status of the answer."),
    "client": text("Who asked.", null=True),
}

TRIAL = {
    "ok": flag("Whether the login worked."),
    "error": text("Why it did not, in the server's words.", null=True),
    "tls": one_of(TlsMode, TLS),
    "seconds": number("How long it took."),
}

FINDING = {
    "instance": text("The instance it is about; null: the installation.", null=True),
    "topic": text("The group it belongs to."),
    "check": text("What was looked at, by a stable word."),
    "subject": text("Which one of several.", null=True),
    "level": one_of(Level, "How bad it is."),
    "found": text("What was found."),
    "advice": text("What to do about it.", null=True),
}

BOUNCE = {
    "bounce_enabled": flag("Whether they are."),
    "bounce_imap_host": text("The server of the mailbox.", null=True),
    "bounce_imap_port": whole("The port of that."),
    "bounce_imap_user": text("The user of that.", null=True),
    "bounce_imap_password": text("Stars, if there is one.", null=True),
    "bounce_imap_folder": text("The folder that is read."),
    "bounce_imap_ssl": flag("Whether the connection begins with TLS."),
    "bounce_poll_interval": whole("Seconds between two looks."),
    "bounce_return_path": text("Where bounces are sent; null is each message's sender.", null=True),
    "bounce_after": text("What becomes of a mail that was read."),
}

SETTING = {
    "key": text("Its name in config.toml."),
    "value": anything("What holds; stars for a secret."),
    "source": text("Where that comes from."),
    "default": anything("What holds if nothing is said."),
    "unit": text("What it is measured in.", null=True),
    "allowed": text("Which values it takes, in words."),
    "environment": text("The variable that sets it."),
    "needs_restart": flag("Whether a running server takes it only when it is started again."),
    "doc": text("What it does."),
}
