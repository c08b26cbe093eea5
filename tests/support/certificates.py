"""Certificates for servers of tests: good ones, and some that must not be accepted."""

from __future__ import annotations

import datetime as dt
import ssl

import trustme


class Authority:
    """Signs certificates; who trusts `pem` trusts them."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self.pem = self._authority.cert_pem.bytes().decode()

    def server_context(self, *names: str, is_expired: bool = False) -> ssl.SSLContext:
        """Make what a server needs to be one of these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certify(context, *names, is_expired=is_expired)
        return context

    def certify(self, context: ssl.SSLContext, *names: str, is_expired: bool = False) -> None:
        """Give a server another certificate."""
        now = dt.datetime.now(dt.UTC)
        begin, end = (now - dt.timedelta(days=2), now - dt.timedelta(days=1)) if is_expired else (None, None)
        self._authority.issue_cert(*names, not_before=begin, not_after=end).configure_cert(context)

    def own_context(self) -> ssl.SSLContext:
        """Make what a server needs to show the authority's own certificate, which nobody else signed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with self._authority.cert_pem.tempfile() as cert, self._authority.private_key_pem.tempfile() as key:
            context.load_cert_chain(cert, key)
        return context
