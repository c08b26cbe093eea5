"""A client of the HTTP API: `MailProxyClient`, and `AsyncMailProxyClient` for asyncio.

Nothing of the server is imported with it.
"""

from mail_proxy.client.answers import (
    Account,
    Event,
    Health,
    Message,
    Node,
    Recipient,
    Rejection,
    Status,
    Storage,
    Submission,
    Suspension,
    SyncStatus,
    Tenant,
)
from mail_proxy.client.clients import AsyncMailProxyClient, MailProxyClient
from mail_proxy.client.errors import (
    ApiError,
    MailProxyClientError,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
)
from mail_proxy.client.fields import AccountFields, Attachment, NewMessage, TenantFields
from mail_proxy.errors import Fault

__all__ = [
    "Account",
    "AccountFields",
    "ApiError",
    "AsyncMailProxyClient",
    "Attachment",
    "Event",
    "Fault",
    "Health",
    "MailProxyClient",
    "MailProxyClientError",
    "Message",
    "NewMessage",
    "Node",
    "Recipient",
    "Rejection",
    "Status",
    "Storage",
    "Submission",
    "Suspension",
    "SyncStatus",
    "Tenant",
    "TenantFields",
    "TimedOut",
    "UnexpectedAnswer",
    "Unreachable",
]
