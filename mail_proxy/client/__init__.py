"""A client of the HTTP API: `MailProxyClient`, and `AsyncMailProxyClient` for asyncio.

For applications that are posted delivery reports there is the module `webhooks`.

Nothing of the server is imported with it.
"""

from mail_proxy.client import webhooks
from mail_proxy.client.answers import (
    Account,
    AccountTest,
    Bounces,
    Command,
    CommandPage,
    Event,
    Health,
    Instance,
    KeptMessage,
    Login,
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
    InvalidPost,
    InvalidSignature,
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
from mail_proxy.client.webhooks import ReportEntry
from mail_proxy.errors import Fault

__all__ = [
    "Account",
    "AccountFields",
    "AccountTest",
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
    "InvalidPost",
    "InvalidSignature",
    "KeptMessage",
    "Login",
    "MailProxyClient",
    "MailProxyClientError",
    "Message",
    "NewMessage",
    "Node",
    "Recipient",
    "Rejection",
    "Removal",
    "Report",
    "ReportEntry",
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
    "webhooks",
]
