"""A client of the HTTP API: `MailProxyClient`, and `AsyncMailProxyClient` for asyncio."""

from mail_proxy.client.clients import AsyncMailProxyClient, MailProxyClient

__all__ = ["AsyncMailProxyClient", "MailProxyClient"]
