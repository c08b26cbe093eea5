"""A server elsewhere, over its API. What comes back is the same as of services here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from mail_proxy.client import ApiError, MailProxyClient, Message, Submission
from mail_proxy.errors import Conflict
from mail_proxy.model.messages import Status
from mail_proxy.services.views import rejection_view
from mail_proxy_repl.server import Fields, View, Wanted

PAGE = 100
"""Messages that are fetched at a time: each comes with its content."""

STATES = tuple(status.value for status in Status)
WAITING = tuple(status.value for status in Status if status.is_waiting)

UNSHOWN = ("message", "events")
"""Of a message in a list."""


class RemoteServer:
    """`Server` over a client of the API."""

    def __init__(self, client: MailProxyClient) -> None:
        self._client = client

    def status(self) -> View:
        url = self._client.sender.target.url
        return {"running": True, "url": url, **asdict(self._client.status())}

    def stats(self, tenant_id: str | None) -> View:
        """The API has no counts, so go through all there is: of very many messages that takes a while."""
        if tenant_id is not None:
            self._client.tenants.get(tenant_id)  # an unknown one is said
        states = Counter(dict.fromkeys(STATES, 0))
        waiting: Counter[tuple[str, str, str]] = Counter()
        for each in self._client.messages.list(page_size=PAGE, tenant_id=tenant_id):
            states[each.status] += 1
            if each.status in WAITING:
                waiting[each.tenant_id, each.account_id, each.status] += 1
        names = ("tenant_id", "account_id", "status")
        return {
            "messages": dict(states),
            "waiting": [
                {**dict(zip(names, key, strict=True)), "count": count}
                for key, count in sorted(waiting.items())
            ],
        }

    def run_now(self, tenant_id: str | None) -> None:
        self._client.run_now(tenant_id=tenant_id)

    def suspend(self, tenant_id: str | None, batch_code: str | None) -> View:
        if tenant_id is None:
            self._client.instance.suspend()
            return {"active": False}
        if batch_code is None:
            return asdict(self._client.tenants.suspend(tenant_id))
        return asdict(self._client.messages.suspend(batch_code, tenant_id=tenant_id))

    def activate(self, tenant_id: str | None, batch_code: str | None) -> View:
        if tenant_id is None:
            self._client.instance.activate()
            return {"active": True}
        if batch_code is None:
            return asdict(self._client.tenants.activate(tenant_id))
        return asdict(self._client.messages.activate(batch_code, tenant_id=tenant_id))

    def tenants(self, *, active_only: bool) -> Iterable[View]:
        return map(asdict, self._client.tenants.list(active_only=active_only))

    def tenant(self, tenant_id: str) -> View:
        return asdict(self._client.tenants.get(tenant_id))

    def add_tenant(self, fields: Fields) -> str:
        given: dict[str, Any] = dict(fields)
        tenant_id = str(given.pop("id"))
        _refuse_known("tenant", tenant_id, lambda: self._client.tenants.get(tenant_id))
        return self._client.tenants.create(tenant_id, **given) or ""

    def update_tenant(self, tenant_id: str, changes: Fields) -> View:
        given: dict[str, Any] = dict(changes)
        return asdict(self._client.tenants.update(tenant_id, **given))

    def delete_tenant(self, tenant_id: str) -> None:
        self._client.tenants.delete(tenant_id)

    def new_api_key(self, tenant_id: str, expires_at: float | None) -> str:
        return self._client.tenants.new_api_key(tenant_id, expires_at=expires_at)

    def revoke_api_key(self, tenant_id: str) -> None:
        self._client.tenants.revoke_api_key(tenant_id)

    def accounts(self, tenant_id: str | None) -> Iterable[View]:
        return map(asdict, self._client.accounts.list(tenant_id=tenant_id))

    def account(self, account_id: str, tenant_id: str | None) -> View:
        return asdict(self._client.accounts.get(account_id, tenant_id=tenant_id))

    def add_account(self, tenant_id: str, fields: Fields) -> View:
        given: dict[str, Any] = dict(fields)
        account_id = str(given.pop("id"))
        _refuse_known("account", account_id, lambda: self.account(account_id, tenant_id))
        self._client.accounts.create(account_id, tenant_id=tenant_id, **given)
        return self.account(account_id, tenant_id)

    def update_account(self, account_id: str, tenant_id: str | None, changes: Fields) -> View:
        given: dict[str, Any] = dict(changes)
        return asdict(self._client.accounts.update(account_id, tenant_id=tenant_id, **given))

    def delete_account(self, account_id: str, tenant_id: str | None, *, force: bool) -> None:
        self._client.accounts.delete(account_id, force=force, tenant_id=tenant_id)

    def check_account(self, account_id: str, tenant_id: str | None) -> View:
        return asdict(self._client.accounts.test(account_id, tenant_id=tenant_id))

    def storages(self, tenant_id: str | None) -> Iterable[View]:
        return map(asdict, self._client.storages.list(tenant_id=tenant_id))

    def put_storage(self, tenant_id: str, fields: Fields) -> None:
        given: dict[str, Any] = dict(fields)
        self._client.storages.create(tenant_id=tenant_id, **given)

    def delete_storage(self, tenant_id: str, name: str) -> None:
        self._client.storages.delete(name, tenant_id=tenant_id)

    def messages(self, wanted: Wanted) -> Iterator[View]:
        found = self._client.messages.list(
            status=wanted.status,
            account_id=wanted.account_id,
            batch_code=wanted.batch_code,
            since=wanted.since,
            until=wanted.until,
            active_only=wanted.active_only,
            page_size=min(PAGE, wanted.limit),
            tenant_id=wanted.tenant_id,
        )
        for each in found:
            yield {name: value for name, value in asdict(each).items() if name not in UNSHOWN}

    def message(self, message_id: str, tenant_id: str | None) -> View:
        return _message(self._client.messages.get(message_id, tenant_id=tenant_id))

    def events(self, message_id: str, tenant_id: str | None) -> Iterable[View]:
        return map(asdict, self._client.messages.events(message_id, tenant_id=tenant_id))

    def add_messages(self, tenant_id: str | None, messages: Sequence[Fields]) -> View:
        owned = [each if tenant_id is None else {"tenant_id": tenant_id, **each} for each in messages]
        try:
            done = self._client.messages.enqueue(owned)
        except ApiError as error:
            if not error.rejected:
                raise
            done = Submission(queued=0, rejected=error.rejected)
        return {
            "queued": done.queued,
            "rejected": [rejection_view(each.id, each.reason, each.errors) for each in done.rejected],
            "warnings": list(done.warnings),
        }

    def retry(self, message_id: str, tenant_id: str | None, at: float | None) -> View:
        return _message(self._client.messages.retry(message_id, at=at, tenant_id=tenant_id))

    def delete_messages(self, ids: Sequence[str], tenant_id: str | None, *, force: bool) -> View:
        return asdict(self._client.messages.delete(ids, force=force, tenant_id=tenant_id))

    def cleanup(self, tenant_id: str | None, older_than_seconds: float | None) -> int:
        return self._client.messages.cleanup(older_than_seconds=older_than_seconds, tenant_id=tenant_id)

    def settings(self) -> View:
        return asdict(self._client.instance.get())

    def update_settings(self, changes: Fields) -> View:
        given: dict[str, Any] = dict(changes)
        return asdict(self._client.instance.update(**given))

    def commands(
        self,
        tenant_id: str | None,
        endpoint: str | None,
        since: float | None,
        until: float | None,
        limit: int,
        offset: int,
    ) -> Iterable[View]:
        page = self._client.command_log.list(
            endpoint=endpoint, since=since, until=until, limit=limit, offset=offset, tenant_id=tenant_id
        )
        return map(asdict, page.commands)


def _refuse_known(kind: str, name: str, get: Callable[[], object]) -> None:
    """To the API, making what is there means to replace it: who adds does not mean that."""
    try:
        get()
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
    else:
        raise Conflict(f"{kind} '{name}' exists already")


def _message(message: Message) -> View:
    """One message as the API shows it: its events are asked for apart."""
    return {name: value for name, value in asdict(message).items() if name != "events"}
