"""Providers of mail, and what their public documentation says of sending through them: proposals only."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proxy.model.accounts import SANDBOX_HOST, TlsMode

STARTTLS, SSL = TlsMode.STARTTLS, TlsMode.SSL


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """`regions` are what the host's name may hold in place of ``{region}``, the first one usual.

    A limit of 0 is none that is known. `user` is what everybody logs in as; `user_is` and `unseen` are
    what user and password are called here.
    """

    label: str
    host: str = ""
    regions: tuple[str, ...] = ()
    port: int = 587
    tls: TlsMode = STARTTLS
    user: str = ""
    user_is: str = "user"
    unseen: str = "password"
    hint: str = ""
    limit_per_minute: int = 0
    limit_per_day: int = 0
    max_concurrent: int | None = None
    is_pec: bool = False
    imap_host: str = ""
    """Where receipts arrive, at port 993."""


OWN = "own"
SANDBOX = "sandbox"

PROVIDERS: dict[str, Provider] = {
    OWN: Provider(label="your own server, or any other"),
    "gmail": Provider(
        label="Gmail, Google Workspace",
        host="smtp.gmail.com",
        user_is="address",
        unseen="app password",
        hint=(
            "Google takes no account password here, but an app password, which an account with 2-step "
            "verification makes at myaccount.google.com/apppasswords. It sends 500 messages a day, "
            "2000 for Workspace."
        ),
        limit_per_day=500,
    ),
    "office365": Provider(
        label="Microsoft 365, Exchange Online",
        host="smtp.office365.com",
        user_is="address",
        hint=(
            "SMTP AUTH has to be switched on for the mailbox, and passwords (Basic) still be allowed for the "
            "organisation: Microsoft is retiring them."
        ),
        limit_per_minute=30,
        limit_per_day=10_000,
        max_concurrent=3,
    ),
    "ses": Provider(
        label="Amazon SES",
        host="email-smtp.{region}.amazonaws.com",
        regions=("us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1"),
        user_is="SMTP user name",
        unseen="SMTP password",
        hint=(
            "SES has SMTP credentials of their own for each region (SES console, SMTP settings): not the "
            "access keys of AWS. Until production access is granted it sends to verified addresses only."
        ),
    ),
    "sendgrid": Provider(
        label="SendGrid",
        host="smtp.sendgrid.net",
        user="apikey",
        unseen="API key",
        hint="The user is the word 'apikey', the password an API key that may send mail.",
    ),
    "mailgun": Provider(
        label="Mailgun (US)",
        host="smtp.mailgun.org",
        user_is="SMTP login",
        unseen="SMTP password",
        hint="Each sending domain has SMTP credentials of its own, such as postmaster@your-domain.",
    ),
    "mailgun-eu": Provider(
        label="Mailgun (EU)",
        host="smtp.eu.mailgun.org",
        user_is="SMTP login",
        unseen="SMTP password",
        hint="Each sending domain has SMTP credentials of its own, such as postmaster@your-domain.",
    ),
    "postmark": Provider(
        label="Postmark",
        host="smtp.postmarkapp.com",
        hint="The server API token is both the user and the password.",
    ),
    "mailjet": Provider(
        label="Mailjet",
        host="in-v3.mailjet.com",
        user_is="API key",
        unseen="secret key",
    ),
    "brevo": Provider(
        label="Brevo",
        host="smtp-relay.brevo.com",
        user_is="SMTP login",
        unseen="SMTP key",
        hint="Both are shown under 'SMTP & API'; an API key is no SMTP key.",
    ),
    "fastmail": Provider(
        label="Fastmail",
        host="smtp.fastmail.com",
        port=465,
        tls=SSL,
        user_is="address",
        unseen="app password",
        hint="Fastmail takes an app password (Settings, Privacy & Security), not that of the account.",
    ),
    "aruba-pec": Provider(
        label="Aruba PEC",
        host="smtps.pec.aruba.it",
        port=465,
        tls=SSL,
        user_is="PEC address",
        hint="With 2-step verification Aruba wants a password made for mail programs.",
        is_pec=True,
        imap_host="imaps.pec.aruba.it",
    ),
    "legalmail": Provider(
        label="Legalmail PEC (InfoCert)",
        host="sendm.cert.legalmail.it",
        port=465,
        tls=SSL,
        user_is="user ID",
        hint="Legalmail takes 6 messages a minute; its contract lets programs send by agreement only.",
        limit_per_minute=6,
        is_pec=True,
        imap_host="mbox.cert.legalmail.it",
    ),
    "register-pec": Provider(
        label="Register.it PEC",
        host="smtp.pec-email.com",
        port=465,
        tls=SSL,
        user_is="PEC address",
        is_pec=True,
        imap_host="imap.pec-email.com",
    ),
    "pec": Provider(label="another provider of PEC", port=465, tls=SSL, user_is="PEC address", is_pec=True),
    SANDBOX: Provider(label="keeps the mail and sends none", host=SANDBOX_HOST),
}
