"""A client of the HTTP API: `MailProxyClient`, and `AsyncMailProxyClient` for asyncio.

Nothing of the server is imported with it.
"""

from mail_proxy.client.answers import (
    Account,
    Bounces,
    Command,
    CommandPage,
    Event,
    Health,
    Instance,
    KeptMessage,
    Message,
    Node,
    Recipient,
    Rejection,
    Removal,
    Report,
    Status,
    Storage,
    Submission,
    Suspension,
    SyncOverview,
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
from mail_proxy.client.fields import (
    AccountFields,
    Attachment,
    BounceFields,
    InstanceFields,
    NewMessage,
    TenantFields,
)
from mail_proxy.errors import Fault

__all__ = [
    "Account",
    "AccountFields",
    "ApiError",
    "AsyncMailProxyClient",
    "Attachment",
    "BounceFields",
    "Bounces",
    "Command",
    "CommandPage",
    "Event",
    "Fault",
    "Health",
    "Instance",
    "InstanceFields",
    "KeptMessage",
    "MailProxyClient",
    "MailProxyClientError",
    "Message",
    "NewMessage",
    "Node",
    "Recipient",
    "Rejection",
    "Removal",
    "Report",
    "Status",
    "Storage",
    "Submission",
    "Suspension",
    "SyncOverview",
    "SyncStatus",
    "Tenant",
    "TenantFields",
    "TimedOut",
    "UnexpectedAnswer",
    "Unreachable",
]
