"""One IMAP session, blocking: the only module that knows IMAPClient. It is for a thread of its own.

What goes wrong is told by `ImapFailed`, never by an exception of the library or of the system.
"""

from __future__ import annotations

import imaplib
import logging
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from mail_proxy.imap.failure import ImapFailed
from mail_proxy.logging import one_line
from mail_proxy.model.accounts import TlsMode
from mail_proxy.model.logins import Mailbox, Step
from mail_proxy.tls import client_context

logger = logging.getLogger(__name__)

MAX_ANSWERS = 1024 * 1024
"""Bytes that a server may say in a session, before they are in memory."""

MAX_WORDS = 500
"""Characters kept of a server's words."""

_PLAIN = b"AUTH=PLAIN"

_SHOWN_BYTES = re.compile(r":? ?\bb['\"].*", re.DOTALL)
"""What imaplib shows of a strange answer, as Python writes bytes: a secret repeated there could hide."""


class _Wire(imaplib.IMAP4):
    """imaplib's protocol over a connection that is there already, bounded in what it reads."""

    def __init__(self, connected: socket.socket, host: str, port: int) -> None:
        self._connected = connected
        self._left = MAX_ANSWERS
        super().__init__(host, port)

    def _create_socket(self, timeout: float | None = None) -> socket.socket:  # noqa: ARG002 - imaplib's name
        return self._connected

    def read(self, size: int) -> bytes:
        self._spend(size)
        return super().read(size)

    def readline(self) -> bytes:
        line = super().readline()
        self._spend(len(line))
        return line

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ImapFailed(f"the server said more than {MAX_ANSWERS} bytes")


class _Client(IMAPClient):  # type: ignore[misc]  # the library is typed, but does not say so
    def __init__(self, connected: socket.socket, mailbox: Mailbox, wait: float) -> None:
        self._connected = connected
        super().__init__(_server_name(mailbox), mailbox.port, ssl=mailbox.ssl, timeout=wait)

    def _create_IMAP4(self) -> _Wire:  # noqa: N802 - IMAPClient's name
        return _Wire(self._connected, self.host, self.port)


class Session:
    """A login at a mailbox, by one of these addresses of its host; each step may take `wait` seconds.

    `reached` is the step that was begun last, None before the first.
    """

    def __init__(self, mailbox: Mailbox, addresses: Sequence[str], wait: float) -> None:
        self._mailbox = mailbox
        self._addresses = addresses
        self._wait = wait
        self._step = "connecting"
        self._socket: socket.socket | None = None
        self._client: _Client | None = None
        self._is_given_up = False
        self.tls = mailbox.tls_at_first
        self.reached: Step | None = None

    def try_login(self) -> None:
        """Connect, log in, look into the folder without changing it, and take leave. Raises `ImapFailed`."""
        mailbox = self._mailbox
        if mailbox.user is None or mailbox.password is None:
            raise ImapFailed("there is no user name or no password to log in with")
        with self._translating():
            try:
                client = self._open()
                self._log_in(client, mailbox.user, mailbox.password)
                self._begin(Step.FOLDER, f"opening the folder {mailbox.folder}")
                client.select_folder(mailbox.folder, readonly=True)
                self._step = "taking leave"
                client.logout()
            finally:
                self._close()

    def give_up(self) -> None:
        """End what is under way, from another thread: it fails at once, or when it has connected."""
        self._is_given_up = True
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _begin(self, step: Step, where: str) -> None:
        self.reached, self._step = step, where

    def _open(self) -> _Client:
        mailbox = self._mailbox
        tls = self._context()
        self._begin(Step.CONNECT, "connecting")
        self._keep(self._connect())
        if mailbox.ssl:
            self._begin(Step.TLS, "TLS")
            self._keep(self._wrapped(tls))
        self._begin(Step.GREETING, "the greeting")
        client = self._client = _Client(self._held(), mailbox, self._wait)
        if not mailbox.ssl and client.has_capability("STARTTLS"):
            self._begin(Step.TLS, "STARTTLS")
            client.starttls(tls)
            self._keep(client.socket())
            self.tls = TlsMode.STARTTLS
        return client

    def _context(self) -> ssl.SSLContext:
        try:
            return client_context(self._mailbox.tls_verify, self._mailbox.tls_ca or None)
        except (OSError, ValueError) as error:
            raise ImapFailed(f"tls_ca: {_words(error)}") from error

    def _connect(self) -> socket.socket:
        fault: OSError = OSError(f"{self._mailbox.host} has no address")
        for address in self._addresses:
            try:
                return socket.create_connection((address, self._mailbox.port), self._wait)
            except OSError as error:
                fault = error
            if self._is_given_up:
                break
        raise fault

    def _wrapped(self, tls: ssl.SSLContext) -> ssl.SSLSocket:
        """Begin with TLS; the handshake is apart, so that it can be given up."""
        wrapped = tls.wrap_socket(
            self._held(), server_hostname=_server_name(self._mailbox), do_handshake_on_connect=False
        )
        self._keep(wrapped)
        wrapped.do_handshake()
        return wrapped

    def _log_in(self, client: _Client, user: str, password: str) -> None:
        self._begin(Step.LOGIN, "the login")
        if client.has_capability(_PLAIN):  # any characters, which LOGIN does not take
            client.plain_login(user, password)
        elif client.has_capability("LOGINDISABLED"):
            raise ImapFailed("the server offers no login that can be used")
        elif not (user + password).isascii():
            raise ImapFailed("the server takes no user name or password with other characters than ASCII")
        else:
            client.login(user, password)

    def _keep(self, connected: socket.socket) -> None:
        self._socket = connected
        if self._is_given_up:
            raise ImapFailed("given up")

    def _held(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError
        return self._socket

    def _close(self) -> None:
        with suppress(OSError):
            if self._client is not None:
                self._client.shutdown()  # it reads through a file, which keeps the connection open
        with suppress(OSError):
            if self._socket is not None:
                self._socket.close()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except ImapFailed:
            raise
        except Exception as error:
            raise ImapFailed(self._told(error)) from error

    def _told(self, error: Exception) -> str:
        """Say what an exception means, and where it was met."""
        where = f" ({self._step})"
        match error:
            case TimeoutError():
                told = f"timed out{where}"
            case ssl.SSLCertVerificationError():
                self.reached = Step.CERTIFICATE
                told = f"certificate not accepted: {error.verify_message}"
            case ssl.SSLError():
                told = f"TLS failed{where}: {error.reason or error}"
            case ConnectionRefusedError():
                told = f"cannot connect: {_words(error)}"
            case ConnectionError():
                told = f"connection lost{where}: {_words(error)}"
            case OSError():
                told = f"cannot connect: {_words(error)}"
            case imaplib.IMAP4.error() if _is_abort(error):
                told = f"broken off{where}: {_words(error)}"
            case imaplib.IMAP4.error():
                told = f"refused{where}: {_words(error)}"
            case _:  # whatever a stranger's answer does to the parser is the stranger's fault
                logger.info("an answer at %s is not IMAP", self._step, exc_info=error)
                told = f"the server's answer is not IMAP{where}"
        return told


def _server_name(mailbox: Mailbox) -> str:
    """The name that the server's certificate must bear."""
    return mailbox.host.rstrip(".")


def _is_abort(error: imaplib.IMAP4.error) -> bool:
    """Whether the conversation ended; of a login that is told by what IMAPClient's own error came from."""
    return any(isinstance(each, imaplib.IMAP4.abort) for each in (error, error.__context__))


def _words(error: Exception) -> str:
    """One printable line, of bounded length."""
    if isinstance(error, OSError) and error.strerror:
        return one_line(error.strerror)
    origin = error.__context__ if isinstance(error, LoginError) else error
    said = origin.args[0] if origin is not None and origin.args else ""
    if isinstance(said, bytes):  # a server's own words
        return one_line(said.decode("utf-8", "replace")[:MAX_WORDS])
    return one_line(_SHOWN_BYTES.sub("", str(said))[:MAX_WORDS])
