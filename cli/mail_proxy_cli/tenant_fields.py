"""A tenant's options as the fields of the service: URLs taken apart, credentials put together."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import click

from mail_proxy.model.tenants import AuthMethod, Tenant

MASK = "***"  # stands for the stored secret, and keeps it

PLAIN = {
    "name": "name",
    "base_url": "client_base_url",
    "webhook_secret": "webhook_secret",
    "active": "active",
}
PATHS = {"sync_path": "client_sync_path", "attachment_path": "client_attachment_path"}
AUTH = {"auth_token": "token", "auth_user": "user", "auth_password": "password"}
LIMITS = {"rate_limit_hourly": "hourly", "rate_limit_daily": "daily"}

OPTION_OF_FIELD = {
    "id": "ID",
    **{field: "--" + option.replace("_", "-") for option, field in (PLAIN | PATHS).items()},
    **{f"client_auth.{field}": "--" + option.replace("_", "-") for option, field in AUTH.items()},
    "client_auth": "--auth-method",
    "client_auth.method": "--auth-method",
    **{f"rate_limits.{field}": "--" + option.replace("_", "-") for option, field in LIMITS.items()},
}


def new_fields(values: Mapping[str, object]) -> dict[str, object]:
    """The fields of a new tenant."""
    return _fields(values, auth={}, limits={})


def changed_fields(values: Mapping[str, object], current: Tenant) -> dict[str, object]:
    """The fields that change: what is made of several options keeps those not given."""
    auth = current.client_auth
    kept: dict[str, object] = {}
    if auth.method is AuthMethod.BEARER:
        kept = {"method": "bearer", "token": MASK}
    elif auth.method is AuthMethod.BASIC:
        kept = {"method": "basic", "user": auth.user, "password": MASK}
    limits = {"hourly": current.rate_limits.hourly, "daily": current.rate_limits.daily}
    return _fields(values, kept, limits)


def _fields(
    values: Mapping[str, object], auth: Mapping[str, object], limits: Mapping[str, object]
) -> dict[str, object]:
    fields: dict[str, object] = {PLAIN[name]: value for name, value in values.items() if name in PLAIN}
    for option, field in PATHS.items():
        if option in values:
            fields[field] = _path(str(values[option]), fields)
    if any(name in values for name in (*AUTH, "auth_method")):
        fields["client_auth"] = _auth(values, auth)
    if any(name in values for name in LIMITS):
        fields["rate_limits"] = {**limits, **_renamed(values, LIMITS)}
    return fields


def _path(value: str, fields: dict[str, object]) -> str:
    """Take a path, or a whole URL, which gives the base as well."""
    if not value.startswith(("http://", "https://")):
        return value
    parts = urlsplit(value)
    base = f"{parts.scheme}://{parts.netloc}"
    known = fields.setdefault("client_base_url", base)
    if str(known).rstrip("/") != base:
        raise click.UsageError(f"{value} is not under {known}: give a path, and --base-url")
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _auth(values: Mapping[str, object], kept: Mapping[str, object]) -> dict[str, object]:
    named = _renamed(values, AUTH)
    method = values.get("auth_method")
    if method is None:
        if "token" in named and len(named) > 1:
            raise click.UsageError(
                "--auth-token is for bearer, --auth-user and --auth-password are for basic"
            )
        method = "bearer" if "token" in named else "basic"
    wanted = {"none": (), "bearer": ("token",), "basic": ("user", "password")}[str(method)]
    if surplus := [option for option, field in AUTH.items() if option in values and field not in wanted]:
        raise click.UsageError(f"--{surplus[0].replace('_', '-')} does not go with --auth-method {method}")
    stays = kept if kept.get("method") == method else {}
    return {"method": method, **{field: stays[field] for field in wanted if field in stays}, **named}


def _renamed(values: Mapping[str, object], names: Mapping[str, str]) -> dict[str, object]:
    return {field: values[option] for option, field in names.items() if option in values}
