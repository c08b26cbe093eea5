"""Messages: handing in, and seeing and deciding what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mail_proxy.client.answers import Event, Message, Removal, Submission, Suspension
from mail_proxy.client.calls import Call, Pages, Resource, S
from mail_proxy.client.fields import NewMessage, Priority
from mail_proxy.client.requests import Moment, Page, Request, fetch, listed, one, paged, to, value

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
        path = to("commands", "add-messages")
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
            to("messages"),
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
        return fetch(to("messages", message_id), one(Message), tenant_id=self.tenant(tenant_id))

    @Call
    def events(self, message_id: str, *, tenant_id: str | None = None) -> Request[tuple[Event, ...]]:
        """Return what happened to a message, in order."""
        path = to("messages", message_id, "events")
        return fetch(path, listed("events", Event), tenant_id=self.tenant(tenant_id))

    @Call
    def retry(
        self, message_id: str, *, at: Moment | None = None, tenant_id: str | None = None
    ) -> Request[Message]:
        """Let a message that waits or has failed be due now, or not before `at`, and return it.

        Refused (409) for one that is being sent, was sent, or has lost its account.
        """
        path = to("messages", message_id, "retry")
        body = {} if at is None else {"at": at}
        return Request("POST", path, one(Message), {"tenant_id": self.tenant(tenant_id)}, body)

    @Call
    def delete(
        self, message_ids: Iterable[str], *, force: bool = False, tenant_id: str | None = None
    ) -> Request[Removal]:
        """Delete messages with all that is stored of them; `refused` tells of those that stay, and why.

        What is sent and not yet reported goes only with `force`, and what is being sent never.
        """
        body = {"ids": list(message_ids), "force": force}
        query = {"tenant_id": self.tenant(tenant_id)}
        return Request("POST", to("commands", "delete-messages"), one(Removal), query, body)

    @Call
    def cleanup(
        self, *, older_than_seconds: float | None = None, tenant_id: str | None = None
    ) -> Request[int]:
        """Delete what was reported that long ago (by default the retention), and return how many they were.

        Without a tenant, the admin means all. Nothing goes that has still to leave or to be reported.
        """
        body = {} if older_than_seconds is None else {"older_than_seconds": older_than_seconds}
        query = {"tenant_id": self.tenant(tenant_id)}
        return Request("POST", to("commands", "cleanup-messages"), value("removed", int), query, body)

    @Call
    def suspend(self, batch_code: str, *, tenant_id: str | None = None) -> Request[Suspension]:
        """Hold back what has not been sent of a batch, and what is yet to come, until `activate`."""
        query = {"tenant_id": self.tenant(tenant_id), "batch_code": batch_code}
        return Request("POST", to("commands", "suspend"), one(Suspension), query, is_repeatable=True)

    @Call
    def activate(self, batch_code: str, *, tenant_id: str | None = None) -> Request[Suspension]:
        """Let a batch go on; refused (409) while all of its tenant is suspended."""
        query = {"tenant_id": self.tenant(tenant_id), "batch_code": batch_code}
        return Request("POST", to("commands", "activate"), one(Suspension), query, is_repeatable=True)

    def _of_tenant(self, message: Given) -> Mapping[str, object]:
        if self.tenant_id is None or message.get("tenant_id") is not None:
            return message
        return {**message, "tenant_id": self.tenant_id}
