"""``doctor``: the order in which things are checked; none keeps another from its turn."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mail_proxy.config import Config
from mail_proxy.errors import InvalidConfig, MailProxyError
from mail_proxy.instance import Instance, list_instances
from mail_proxy.model.findings import Finding, Level, failure, note
from mail_proxy_cli.complete import instances as complete_instances
from mail_proxy_cli.context import read_context
from mail_proxy_cli.doctor.database import check_clock, check_database, check_key, is_usable, look_at_database
from mail_proxy_cli.doctor.files import check_config, check_disk, check_files, check_token
from mail_proxy_cli.doctor.installation import check_installation
from mail_proxy_cli.doctor.telling import Teller
from mail_proxy_cli.errors import FAILED, OK, describe
from mail_proxy_cli.instances import chosen_instance
from mail_proxy_cli.nodes import command
from mail_proxy_cli.progress import busy, progress
from mail_proxy_cli.scope import Scope, pass_scope
from mail_proxy_cli.session import is_served, run, wait_for

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime

DNS_PORT = 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the options ask for."""

    fix: bool
    logins: bool
    senders: bool
    selectors: tuple[str, ...]
    dns: tuple[str, int] | None


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
    teller = Teller(as_json=as_json, color=scope.invocation.color)
    named = None if name is None else chosen_instance(scope, name)
    teller.section(None, "installation", guarded(lambda: check_installation(scope, fix=fix)))
    if domains:
        with busy("asking DNS"):
            found = wait_for(_awaited(_check_domains(domains, wishes)))
        teller.section(None, "domains", found)
    for instance in [named] if named else _instances(scope, teller, every=every):
        _check_instance(scope.at(instance), teller, wishes)
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
    """The context's instance, else all."""
    try:
        found = list_instances(scope.home)
        chosen = None if every else read_context(scope.environ).instance
    except MailProxyError as error:
        teller.section(None, "instances", [failure("instances", str(error))])
        return []
    return [each for each in found if each.name == chosen] if chosen else found


def guarded(look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a check finds; what it trips over is a finding, too."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - a patient may have anything
        yield failure("unexpected", f"not checked: {describe(error)[0]}")


def _check_instance(scope: Scope, teller: Teller, wishes: Wishes) -> None:
    from mail_proxy_cli.doctor.server import check_server

    instance = scope.instance
    name = instance.name
    config = _config_of(scope)
    valid = config if isinstance(config, Config) else None

    def files() -> Iterator[Finding]:
        yield from guarded(lambda: check_files(instance, fix=wishes.fix))
        if isinstance(config, Finding):
            yield config
        else:
            yield from guarded(lambda: check_config(instance, config))
        if valid is not None:
            yield from guarded(lambda: check_token(instance, valid))
            places = [instance.directory]
            if not valid.uses_postgres:
                places.append((valid.db_path or instance.database).parent)
            yield from guarded(lambda: check_disk(places))

    teller.section(name, "files", files())
    with busy(f"{name}: asking the server"):
        found = list(guarded(lambda: check_server(instance, valid)))
    teller.section(name, "server", found)
    if valid is None:
        why = "not checked: without a valid configuration it is not known where it is"
        teller.section(name, "database", [note("database", why)])
    else:
        _check_data(scope, valid, teller, wishes)


def _config_of(scope: Scope) -> Config | InvalidConfig | Finding:
    try:
        return scope.load_config()
    except InvalidConfig as error:
        return error
    except (MailProxyError, OSError) as error:
        return failure("config", describe(error)[0])


def _check_data(scope: Scope, config: Config, teller: Teller, wishes: Wishes) -> None:
    """The database, and what is in it if it can be opened as it is."""
    name = scope.instance.name
    with busy(f"{name}: reading the database"):
        state = look_at_database(scope, config)
    if isinstance(state, Finding):
        teller.section(name, "database", [state])
        return
    teller.section(name, "database", check_database(name, state))
    fault: Exception | None = None

    def told() -> None:
        teller.section(name, "key", guarded(lambda: check_key(scope, state, fault)))

    if not is_usable(state):
        told()
        return
    is_open = False

    async def work(runtime: Runtime) -> None:
        nonlocal is_open
        is_open = True
        told()
        await _check_contents(scope, runtime, teller, wishes)

    try:
        run(scope, work)
    except Exception as error:  # noqa: BLE001 - as in `guarded`
        if is_open:
            teller.section(name, "database", [failure("database", describe(error)[0])])
        else:
            fault = error
            told()


async def _check_contents(scope: Scope, runtime: Runtime, teller: Teller, wishes: Wishes) -> None:
    from mail_proxy.services import checkup

    name = scope.instance.name
    services = runtime.services
    served = await is_served(scope, runtime)
    teller.section(name, "secrets", await _awaited(checkup.check_secrets(services)))
    found = [*check_clock(runtime), *await _awaited(checkup.check_queue(services, is_served=served))]
    teller.section(name, "queue", found)
    teller.section(name, "reports", await _awaited(checkup.check_reports(services)))
    if wishes.logins:
        with progress(f"{name}: logging in") as advance:
            found = await _awaited(checkup.check_logins(services, advance))
        teller.section(name, "accounts", found)
    if wishes.senders:
        with busy(f"{name}: asking DNS"):
            found = await _awaited(checkup.check_senders(services, wishes.selectors, wishes.dns))
        teller.section(name, "domains", found)


async def _check_domains(domains: tuple[str, ...], wishes: Wishes) -> list[Finding]:
    from mail_proxy.services.checkup import check_domains

    return await check_domains(domains, wishes.selectors, wishes.dns)


async def _awaited(look: Awaitable[list[Finding]]) -> list[Finding]:
    """As `guarded`."""
    try:
        return await look
    except Exception as error:  # noqa: BLE001 - as there
        return [failure("unexpected", f"not checked: {describe(error)[0]}")]
