"""A private Dovecot for a test session: a real IMAP server on loopback, with TLS and without."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

HOST = "127.0.0.1"
START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0

MISSING = "Dovecot is missing: install the server (Debian: apt-get install dovecot-imapd)"

CONFIGURATION = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
protocols = imap
listen = {host}
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
first_valid_uid = 1
mail_location = maildir:~/Maildir
auth_mechanisms = plain login
auth_failure_delay = 0s
ssl = yes
ssl_cert = <{root}/server.pem
ssl_key = <{root}/server.key
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Zurückgekommen {{
    auto = create
  }}
}}
service imap-login {{
  {chroot}
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  {chroot}
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  {chroot}
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {root}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {root}/users
}}
"""

USER = "ann@example.org"
PASSWORD = 'ånn\'s "password" {5}'  # what a quoted string of IMAP cannot simply hold


def find_dovecot() -> str | None:
    """The server's program, None when it is not installed."""
    return shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Dovecot:
    """One server with one user, `USER`, and her folders INBOX and Zurückgekommen; `ca_pem` vouches for it."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._root = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = self.tls_port = 0
        self.ca_pem = ""

    def __enter__(self) -> Self:
        self._root = Path(tempfile.mkdtemp(prefix="dovecot-", dir="/tmp"))  # its sockets need a short path
        self._root.chmod(0o755)
        self.port, self.tls_port = _free_ports(2)
        self._configure()
        self._process = subprocess.Popen([self._program, "-F", "-c", str(self._root / "dovecot.conf")])
        self._wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT)
        shutil.rmtree(self._root, ignore_errors=True)

    def _configure(self) -> None:
        is_root = os.geteuid() == 0
        owner = (
            pwd.getpwnam("mail") if is_root else pwd.getpwuid(os.geteuid())
        )  # Dovecot serves no mail of root
        internal, login = ("dovecot", "dovenull") if is_root else (owner.pw_name, owner.pw_name)
        authority = trustme.CA()
        self.ca_pem = authority.cert_pem.bytes().decode()
        certificate = authority.issue_cert(HOST, "localhost")
        (self._root / "server.pem").write_bytes(
            b"".join(part.bytes() for part in certificate.cert_chain_pems)
        )
        (self._root / "server.key").write_bytes(certificate.private_key_pem.bytes())
        mail = self._root / "mail"
        mail.mkdir()
        os.chown(mail, owner.pw_uid, owner.pw_gid)
        (self._root / "users").write_text(
            f"{USER}:{{PLAIN}}{PASSWORD}:{owner.pw_uid}:{owner.pw_gid}::{mail}::\n", "utf-8"
        )
        text = CONFIGURATION.format(
            root=self._root,
            host=HOST,
            internal=internal,
            group=grp.getgrgid(pwd.getpwnam(internal).pw_gid).gr_name,
            login=login,
            chroot="" if is_root else "chroot =",
            port=self.port,
            tls_port=self.tls_port,
        )
        (self._root / "dovecot.conf").write_text(text, "utf-8")

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1) as connection:
                if connection.recv(4) == b"* OK":
                    return
            time.sleep(0.05)
        log = self._root / "dovecot.log"
        raise RuntimeError(
            f"Dovecot does not start: {log.read_text('utf-8')[-2000:] if log.exists() else ''}"
        )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((HOST, 0))
        return [int(listener.getsockname()[1]) for listener in listeners]
