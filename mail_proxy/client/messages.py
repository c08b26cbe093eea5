"""Messages: handing in, and seeing and deciding what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mail_proxy.client.answers import Event, Message, Submission, Suspension
from mail_proxy.client.calls import Call, Pages, Resource, S
from mail_proxy.client.fields import NewMessage, Priority
from mail_proxy.client.requests import Moment, Page, Request, at, fetch, listed, one, paged

Given = NewMessage | Mapping[str, object]


class Messages(Resource[S]):
    """``client.messages``. With the admin token, `tenant_id` says whose; a tenant's token means its own."""

    @Call
    def enqueue(
        self, messages: Given | Iterable[Given], *, default_priority: Priority | None = None
    ) -> Request[Submission]:
        """Hand in one message or many; those that count as queued are on the server's disk.

        Repeating it does no harm: what was sent meanwhile is told in `rejected` as ``already sent``. Raises
        `ApiError` with status 400 when every message was invalid, and with 413 for too many at once (1,000
        unless the server was told otherwise).
        """
        given = [messages] if isinstance(messages, Mapping) else list(messages)
        body: dict[str, object] = {"messages": [self._of_tenant(each) for each in given]}
        if default_priority is not None:
            body["default_priority"] = default_priority
        path = at("commands", "add-messages")
        return Request("POST", path, one(Submission), body=body, is_repeatable=True)

    @Pages
    def list(
        self,
        *,
        status: str | None = None,
        account_id: str | None = None,
        batch_code: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        active_only: bool = False,
        include_history: bool = False,
        page_size: int = 1000,
        tenant_id: str | None = None,
    ) -> Request[Page[Message]]:
        """Go through all messages, newest first; `page_size` (at most 10,000) are fetched at a time.

        `since` and `until` are times of queueing, the latter not included. `active_only` are those that still
        have to leave. With `include_history` each has its events. Without a tenant, the admin sees all.
        """
        return fetch(
            at("messages"),
            paged("messages", Message),
            tenant_id=self.tenant(tenant_id),
            status=status,
            account_id=account_id,
            batch_code=batch_code,
            since=since,
            until=until,
            active_only=active_only,
            include_history=include_history,
            limit=page_size,
        )

    @Call
    def get(self, message_id: str, *, tenant_id: str | None = None) -> Request[Message]:
        """Return one message; `ApiError` with status 404 when there is none."""
        return fetch(at("messages", message_id), one(Message), tenant_id=self.tenant(tenant_id))

    @Call
    def events(self, message_id: str, *, tenant_id: str | None = None) -> Request[tuple[Event, ...]]:
        """Return what happened to a message, in order."""
        path = at("messages", message_id, "events")
        return fetch(path, listed("events", Event), tenant_id=self.tenant(tenant_id))

    @Call
    def suspend(self, batch_code: str, *, tenant_id: str | None = None) -> Request[Suspension]:
        """Hold back what has not been sent of a batch, and what is yet to come, until `activate`."""
        query = {"tenant_id": self.tenant(tenant_id), "batch_code": batch_code}
        return Request("POST", at("commands", "suspend"), one(Suspension), query, is_repeatable=True)

    @Call
    def activate(self, batch_code: str, *, tenant_id: str | None = None) -> Request[Suspension]:
        """Let a batch go on; refused (409) while all of its tenant is suspended."""
        query = {"tenant_id": self.tenant(tenant_id), "batch_code": batch_code}
        return Request("POST", at("commands", "activate"), one(Suspension), query, is_repeatable=True)

    def _of_tenant(self, message: Given) -> Mapping[str, object]:
        if self.tenant_id is None or message.get("tenant_id") is not None:
            return message
        return {**message, "tenant_id": self.tenant_id}
