"""``doctor``: what is to be checked, and how the findings are told."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import click

from mail_proxy.errors import InstanceError, MailProxyError
from mail_proxy.instance import Instance
from mail_proxy.model.findings import Level, failure
from mail_proxy.model.names import is_instance_name
from mail_proxy_cli.complete import instances as complete_instances
from mail_proxy_cli.context import read_context
from mail_proxy_cli.doctor.course import Doctor, Wishes
from mail_proxy_cli.doctor.telling import Teller
from mail_proxy_cli.errors import FAILED, OK, describe
from mail_proxy_cli.instances import chosen_instance
from mail_proxy_cli.nodes import command
from mail_proxy_cli.scope import Scope, pass_scope

DNS_PORT = 53


@command("doctor")
@click.argument("name", metavar="[INSTANCE]", required=False, shell_complete=complete_instances)
@click.option("--all", "every", is_flag=True, help="Check all instances, whatever 'use' has chosen.")
@click.option("--no-logins", is_flag=True, help="Do not log in at the accounts' servers.")
@click.option("--no-dns", is_flag=True, help="Do not ask DNS about the senders' domains.")
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Ask DNS about this domain.")
@click.option(
    "--selector", "selectors", multiple=True, metavar="NAME", help="Look for this DKIM selector, too."
)
@click.option("--dns", "server", metavar="ADDRESS[:PORT]", help="Ask this DNS server.")
@click.option("--fix", is_flag=True, help="Take away the permissions that others should not have.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_scope
def doctor(
    scope: Scope,
    name: str | None,
    *,
    every: bool,
    no_logins: bool,
    no_dns: bool,
    domains: tuple[str, ...],
    selectors: tuple[str, ...],
    server: str | None,
    fix: bool,
    as_json: bool,
) -> int:
    """Check installation, permissions, ports, database, accounts, DNS.

    Without INSTANCE it is the one that 'use' has chosen, else all of them. Nothing is changed, but what --fix
    names; a database of an older version stays as it is. The exit code is 1 when there is a failure.
    """
    if no_dns and domains:
        raise click.UsageError("--no-dns and --domain contradict each other")
    wishes = Wishes(
        fix=fix,
        logins=not no_logins,
        senders=not no_dns,
        selectors=selectors,
        dns=None if server is None else _dns_address(server),
    )
    named = None if name is None else chosen_instance(scope, name)
    teller = Teller(as_json=as_json, color=scope.invocation.color)
    course = Doctor(teller, wishes, debug=scope.invocation.debug)
    course.check_installation(scope)
    if domains:
        course.check_domains(domains)
    for instance in [named] if named else _instances(scope, teller, every=every):
        course.check_instance(scope.at(instance))
    teller.end()
    return FAILED if teller.worst is Level.FAILURE else OK


def _dns_address(text: str) -> tuple[str, int]:
    """Read ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT."""
    host, port = text, DNS_PORT
    if text.startswith("[") or text.count(":") == 1:
        host, _, number = text.removeprefix("[").rpartition("]:" if text.startswith("[") else ":")
        if not number.isdecimal() or not 0 < (port := int(number)) < 65536:
            raise click.BadParameter(f"'{text}' has no valid port", param_hint="--dns")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise click.BadParameter(f"'{host}' is not an IP address", param_hint="--dns") from None
    return host, port


def _instances(scope: Scope, teller: Teller, *, every: bool) -> Iterable[Instance]:
    """The context's instance, else all, among them those that may not be looked at."""
    try:
        names = sorted(path.name for path in scope.home.iterdir() if is_instance_name(path.name))
        chosen = None if every else read_context(scope.environ).instance
    except FileNotFoundError:
        return []
    except (MailProxyError, OSError) as error:
        teller.section(None, "instances", [failure("instances", describe(error)[0])])
        return []
    found = [Instance(name, scope.home / name) for name in names if chosen in (None, name)]
    return [instance for instance in found if _may_exist(instance)]


def _may_exist(instance: Instance) -> bool:
    try:
        return instance.exists()
    except InstanceError:
        return True
