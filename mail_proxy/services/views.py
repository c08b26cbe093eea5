"""Values as JSON objects, with the API's names: for HTTP answers, ``--json`` and the REPL alike.

No secret is ever among them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from mail_proxy.clock import iso
from mail_proxy.errors import Fault
from mail_proxy.model.accounts import Account, Circuit
from mail_proxy.model.activity import SPAN, AccountActivity, Activity, Failure, Outcome
from mail_proxy.model.commands import Command
from mail_proxy.model.explanations import Cause, Condition, Explanation, Sender
from mail_proxy.model.instance_settings import InstanceSettings
from mail_proxy.model.logins import LoginTrial
from mail_proxy.model.messages import Event, Message, Payload, Status
from mail_proxy.model.queue import NodeInfo
from mail_proxy.model.removal import Removal
from mail_proxy.model.reports import Untold
from mail_proxy.model.storages import Storage, StorageTrial
from mail_proxy.model.suspensions import Suspension
from mail_proxy.model.tenants import AuthMethod, ClientAuth, Tenant
from mail_proxy.services.account_check import AccountCheck
from mail_proxy.services.inputs import MASK
from mail_proxy.services.payloads import shown
from mail_proxy.services.reports import SyncStatus
from mail_proxy.services.storages import masked_config

View = dict[str, object]

DONE = {"sent": Outcome.SENT, "failed": Outcome.FAILED, "deferrals": Outcome.DEFERRED}
"""What became of an account's messages; ``deferred`` are those that wait."""


def tenant_view(tenant: Tenant) -> View:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "client_base_url": tenant.client_base_url,
        "client_sync_path": tenant.client_sync_path,
        "client_attachment_path": tenant.client_attachment_path,
        "client_auth": None if "client_auth" in tenant.unreadable else _auth_view(tenant.client_auth),
        "rate_limits": {"hourly": tenant.rate_limits.hourly, "daily": tenant.rate_limits.daily},
        "large_file_config": tenant.large_file_config,
        "webhook_secret": _secret_view("webhook_secret", tenant.webhook_secret, tenant.unreadable),
        "report_nulls": tenant.report_nulls,
        "active": tenant.active,
        "suspended_batches": list(tenant.suspended_batches),
        "api_key_expires_at": seconds(tenant.api_key_expires_at),
        "created_at": seconds(tenant.created_at),
        "updated_at": seconds(tenant.updated_at),
    }


def account_view(account: Account) -> View:
    return {
        "id": account.id,
        "tenant_id": account.tenant_id,
        "host": account.host,
        "port": account.port,
        "user": account.user,
        "tls": account.tls or account.effective_tls,
        "use_tls": account.use_tls,
        "tls_verify": account.tls_verify,
        "tls_ca": account.tls_ca,
        "from_address": account.from_address,
        "ttl": account.ttl,
        "batch_size": account.batch_size,
        "max_concurrent": account.max_concurrent,
        "limit_per_minute": account.limit_per_minute,
        "limit_per_hour": account.limit_per_hour,
        "limit_per_day": account.limit_per_day,
        "limit_behavior": account.limit_behavior,
        "on_unknown": account.on_unknown,
        "is_pec_account": account.is_pec_account,
        "imap_host": account.imap_host,
        "imap_port": account.imap_port,
        "imap_user": account.imap_user,
        "imap_folder": account.imap_folder,
        "imap_ssl": account.imap_ssl,
        "circuit": account.circuit,
        "last_error": account.last_error,
        "created_at": iso(account.created_at),
        "updated_at": iso(account.updated_at),
    }


def check_view(check: AccountCheck) -> View:
    return {
        "smtp": _trial_view(check.smtp),
        "imap": None if check.imap is None else _trial_view(check.imap),
    }


def storage_view(storage: Storage) -> View:
    return {
        "tenant_id": storage.tenant_id,
        "name": storage.name,
        "protocol": storage.protocol,
        "config": None if storage.is_unreadable else masked_config(storage.protocol, storage.config),
        "created_at": iso(storage.created_at),
        "updated_at": iso(storage.updated_at),
    }


def storage_check_view(trial: StorageTrial) -> View:
    return {
        "ok": trial.error is None,
        "steps": [
            {
                "step": step.name,
                "ok": step.error is None,
                "error": step.error,
                "seconds": round(step.seconds, 3),
            }
            for step in trial.steps
        ],
        "left": trial.left,
    }


def rejection_view(message_id: str | None, reason: str, faults: Sequence[Fault]) -> View:
    """Tell of a message that was not queued."""
    view: View = {"id": message_id, "reason": reason}
    if faults:
        view["errors"] = faults_view(faults)
    return view


def faults_view(faults: Sequence[Fault]) -> list[View]:
    return [{"loc": list(fault.loc), "msg": fault.msg, "type": fault.type} for fault in faults]


def message_view(message: Message, payload: Payload | None = None, tenant_name: str | None = None) -> View:
    view: View = {
        "pk": message.pk,
        "id": message.id,
        "tenant_id": message.tenant_id,
        "tenant_name": tenant_name,
        "account_id": message.account_id,
        "status": message.status,
        "priority": message.priority,
        "batch_code": message.batch_code,
        "created_at": seconds(message.created_at),
        "updated_at": seconds(message.updated_at),
        "deferred_ts": seconds(message.deferred_ts),
        "sent_ts": seconds(message.sent_ts),
        "error_ts": seconds(message.error_ts),
        "error": message.error,
        "retry_count": message.retry_count,
        "reported_ts": seconds(message.reported_ts),
        "bounce_type": message.bounce_type,
        "bounce_code": message.bounce_code,
        "bounce_reason": message.bounce_reason,
        "bounce_ts": seconds(message.bounce_ts),
        "is_pec": message.is_pec,
        "message_id": message.message_id,
        "recipients": [
            {"address": each.address, "status": each.status, "code": each.code, "reply": each.reply}
            for each in message.recipients
        ],
        "last_error": message.last_error,
        "metadata": None if message.metadata is None else json.loads(message.metadata),
    }
    if payload is not None:
        view["message"] = shown(payload)
    return view


def event_view(event: Event) -> View:
    return {
        "event_id": event.event_id,
        "event_type": event.event_type,
        "event_ts": seconds(event.event_ts),
        "description": event.description,
        "event_data": event.event_data,
    }


def explanation_view(explanation: Explanation) -> View:
    message, decisive = explanation.message, explanation.causes[0]
    return {
        "id": message.id,
        "tenant_id": message.tenant_id,
        "account_id": message.account_id,
        "status": message.status,
        "reason": decisive.reason,
        "since": seconds(decisive.since),
        "until": seconds(decisive.until),
        "reasons": [_cause_view(each) for each in explanation.causes],
        "ahead": explanation.ahead,
        "more_ahead": explanation.is_more_ahead,
        "retry_count": message.retry_count,
        "attempts_left": explanation.attempts_left,
        "last_error": message.last_error,
        "account": None if explanation.condition is None else _condition_view(explanation.condition),
        "limits": [
            {"limit": each.limit, "taken": each.taken, "frees_at": seconds(each.frees_at)}
            for each in explanation.windows
        ],
        "sender": None if explanation.sender is None else _sender_view(explanation.sender),
    }


def suspension_view(suspension: Suspension) -> View:
    return {
        "tenant_id": suspension.tenant_id,
        "batch_code": suspension.batch_code,
        "suspended_batches": list(suspension.suspended_batches),
        "pending_messages": suspension.pending_messages,
    }


def untold_view(untold: Untold) -> View:
    event = untold.event
    return {
        "event_id": event.event_id,
        "tenant_id": event.tenant_id,
        "id": event.id,
        "pk": event.pk,
        "account_id": event.account_id,
        "event": event.event_type,
        "event_ts": seconds(event.event_ts),
        "state": untold.state,
        "refusals": untold.refusals,
        "again_ts": seconds(untold.again_ts),
        "last_error": untold.last_error,
    }


def sync_view(status: SyncStatus) -> View:
    state = status.state
    return {
        "id": state.tenant_id,
        "name": state.name,
        "active": state.active,
        "client_base_url": state.client_base_url,
        "last_sync_ts": seconds(state.last_sync_ts),
        "next_sync_due": seconds(status.next_due),
        "in_dnd": status.in_dnd,
        "pending_reports": state.pending,
        "consecutive_failures": state.failures,
        "last_error": state.last_error,
    }


def bounce_view(settings: InstanceSettings) -> View:
    return {
        "bounce_enabled": settings.bounce_enabled,
        "bounce_imap_host": settings.bounce_imap_host,
        "bounce_imap_port": settings.bounce_imap_port,
        "bounce_imap_user": settings.bounce_imap_user,
        "bounce_imap_password": _secret_view(
            "bounce_imap_password", settings.bounce_imap_password, settings.unreadable
        ),
        "bounce_imap_folder": settings.bounce_imap_folder,
        "bounce_imap_ssl": settings.bounce_imap_ssl,
        "bounce_poll_interval": settings.bounce_poll_interval,
        "bounce_return_path": settings.bounce_return_path,
        "bounce_after": settings.bounce_after,
    }


def instance_view(settings: InstanceSettings) -> View:
    return {"name": settings.name, **bounce_view(settings)}


def removal_view(removal: Removal) -> View:
    return {
        "removed": len(removal.removed),
        "not_found": list(removal.not_found),
        "unauthorized": list(removal.foreign),
        "refused": [{"id": message_id, "reason": why} for message_id, why in removal.kept.items()],
    }


def node_view(node: NodeInfo) -> View:
    return {
        "node_id": node.node_id,
        "name": node.name,
        "pid": node.pid,
        "version": node.version,
        "started_at": seconds(node.started_at),
        "seen_at": seconds(node.seen_at),
    }


def activity_view(activity: Activity) -> View:
    """``rates`` count by minutes up to now, the oldest first; those before ``since`` are not known."""
    return {
        "ts": seconds(activity.ts),
        "active": activity.is_active,
        "nodes": [node_view(node) for node in activity.nodes],
        "queue": dict(activity.queue),
        "since": seconds(activity.since),
        "rates": {
            outcome: [sum(counts[at : at + 60]) for at in range(0, SPAN, 60)]
            for outcome, counts in activity.seconds.items()
        },
        "accounts_total": activity.accounts_total,
        "accounts": [_account_activity_view(account, activity.ts) for account in activity.accounts],
        "errors": [_failure_view(failure) for failure in activity.failures],
    }


def command_view(command: Command) -> View:
    return {
        "command_id": command.command_id,
        "ts": seconds(command.ts),
        "endpoint": command.endpoint,
        "path": command.path,
        "tenant_id": command.tenant_id,
        "payload": None if command.payload is None else json.loads(command.payload),
        "status": command.status,
        "client": command.client,
    }


def seconds(moment: float | None) -> int | None:
    """Whole Unix seconds, as the API gives them."""
    return None if moment is None else int(moment)


def _account_activity_view(account: AccountActivity, now: float) -> View:
    """What a deleted account has left behind has no circuit."""
    state = account.state
    view: View = {"tenant_id": account.tenant_id, "account_id": account.account_id}
    view |= {status: account.waiting.get(status, 0) for status in Status if status.is_waiting}
    view |= {name: account.done.get(outcome, 0) for name, outcome in DONE.items()}
    if state is None:
        return {
            **view,
            "circuit": None,
            "resting_until": None,
            "last_error": None,
            "limits": [],
            "oldest_seconds": None,
        }
    return {
        **view,
        "circuit": Circuit.CLOSED if state.resting_until is None else Circuit.OPEN,
        "resting_until": seconds(state.resting_until),
        "last_error": state.last_error,
        "limits": [{"seconds": use.seconds, "limit": use.limit, "used": use.used} for use in state.limits],
        "oldest_seconds": None if state.waits_since is None else max(0, int(now - state.waits_since)),
    }


def _failure_view(failure: Failure) -> View:
    return {
        "event_ts": seconds(failure.ts),
        "tenant_id": failure.tenant_id,
        "account_id": failure.account_id,
        "id": failure.id,
        "error": failure.text,
    }


def _cause_view(cause: Cause) -> View:
    return {
        "reason": cause.reason,
        "since": seconds(cause.since),
        "until": seconds(cause.until),
        "detail": cause.detail,
    }


def _condition_view(condition: Condition) -> View:
    return {
        "circuit": condition.circuit,
        "resting_until": None if condition.rest is None else seconds(condition.rest.until),
        "ill_since": seconds(condition.ill_since),
        "last_error": condition.last_error,
    }


def _sender_view(sender: Sender) -> View:
    return {
        "node_id": sender.node_id,
        "name": sender.name,
        "alive": sender.is_alive,
        "lease_until": seconds(sender.lease_until),
        "begun_at": seconds(sender.begun_at),
    }


def _trial_view(trial: LoginTrial) -> View:
    return {
        "ok": trial.error is None,
        "error": trial.error,
        "tls": trial.tls,
        "seconds": round(trial.seconds, 3),
    }


def _secret_view(name: str, secret: str | None, unreadable: AbstractSet[str]) -> str | None:
    """Show that there is one, also if it cannot be decrypted."""
    return None if secret is None and name not in unreadable else MASK


def _auth_view(auth: ClientAuth) -> Mapping[str, str | None]:
    if auth.method is AuthMethod.BEARER:
        return {"method": "bearer", "token": MASK}
    if auth.method is AuthMethod.BASIC:
        return {"method": "basic", "user": auth.user, "password": MASK}
    return {"method": "none"}
