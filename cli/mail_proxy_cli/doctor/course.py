"""The order in which an instance is checked; no check keeps another from its turn."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mail_proxy.config import Config
from mail_proxy.errors import InvalidConfig, MailProxyError
from mail_proxy.model.findings import Finding, failure, note
from mail_proxy_cli.doctor.database import check_clock, check_database, check_key, is_usable, look_at_database
from mail_proxy_cli.doctor.files import check_config, check_disk, check_files, check_token
from mail_proxy_cli.doctor.installation import check_installation
from mail_proxy_cli.doctor.telling import Teller
from mail_proxy_cli.errors import describe
from mail_proxy_cli.opening import is_served, run, wait_for
from mail_proxy_cli.progress import busy, progress
from mail_proxy_cli.scope import Scope

if TYPE_CHECKING:
    from mail_proxy.runtime import Runtime
    from mail_proxy.upkeep import DatabaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the options ask for; `dns` is the server to be asked."""

    fix: bool
    logins: bool
    senders: bool
    selectors: tuple[str, ...]
    dns: tuple[str, int] | None


class Doctor:
    """`debug`: print the whole traceback of what a check trips over."""

    def __init__(self, teller: Teller, wishes: Wishes, *, debug: bool) -> None:
        self._teller = teller
        self._wishes = wishes
        self._debug = debug

    def check_installation(self, scope: Scope) -> None:
        """The program, and the home of all instances."""
        found = self._guarded(lambda: check_installation(scope, fix=self._wishes.fix))
        self._teller.section(None, "installation", found)

    def check_domains(self, domains: tuple[str, ...]) -> None:
        """Domains that somebody asks for."""

        async def look() -> list[Finding]:
            from mail_proxy.services.checkup import check_domains

            return await self._awaited(check_domains(domains, self._wishes.selectors, self._wishes.dns))

        with busy("asking DNS"):
            found = wait_for(look())
        self._teller.section(None, "domains", found)

    def check_instance(self, scope: Scope) -> None:
        """All of one instance, from the outside to the inside."""
        from mail_proxy_cli.doctor.server import check_server

        instance = scope.instance
        config = _config_of(scope)
        valid = config if isinstance(config, Config) else None
        self._teller.section(instance.name, "files", self._files(scope, config))
        with busy(f"{instance.name}: asking the server"):
            found = list(self._guarded(lambda: check_server(instance, valid)))
        self._teller.section(instance.name, "server", found)
        if valid is None:
            why = "not checked: without a valid configuration it is not known where it is"
            self._teller.section(instance.name, "database", [note("database", why)])
            return
        with busy(f"{instance.name}: reading the database"):
            state = look_at_database(scope, valid)
        if isinstance(state, Finding):
            self._teller.section(instance.name, "database", [state])
            return
        self._teller.section(instance.name, "database", check_database(instance.name, state))
        if is_usable(state):
            self._open(scope, state)
        else:
            self._tell_key(scope, state)

    def _files(self, scope: Scope, config: Config | InvalidConfig | Finding) -> Iterator[Finding]:
        instance = scope.instance
        yield from self._guarded(lambda: check_files(instance, fix=self._wishes.fix))
        if isinstance(config, Finding):
            yield config
            return
        yield from self._guarded(lambda: check_config(instance, config))
        if isinstance(config, Config):
            yield from self._guarded(lambda: check_token(instance, config))
            places = [instance.directory]
            if not config.uses_postgres:
                places.append((config.db_path or instance.database).parent)
            yield from self._guarded(lambda: check_disk(places))

    def _open(self, scope: Scope, state: DatabaseState) -> None:
        """Open the database, which is as it should be, and look at what is in it."""
        is_open = False

        async def look(runtime: Runtime) -> None:
            nonlocal is_open
            is_open = True
            self._tell_key(scope, state)
            await self._look_inside(scope, runtime)

        try:
            run(scope, look)
        except Exception as error:  # noqa: BLE001 - as in `_guarded`
            if is_open:
                self._teller.section(scope.instance.name, "database", [self._tripped(error)])
            else:
                self._tell_key(scope, state, error)

    def _tell_key(self, scope: Scope, state: DatabaseState, fault: Exception | None = None) -> None:
        self._teller.section(
            scope.instance.name, "key", self._guarded(lambda: check_key(scope, state, fault))
        )

    async def _look_inside(self, scope: Scope, runtime: Runtime) -> None:
        from mail_proxy.services import checkup

        name, wishes, tell = scope.instance.name, self._wishes, self._teller.section
        services = runtime.services
        tell(name, "secrets", await self._awaited(checkup.check_secrets(services)))

        async def queue() -> list[Finding]:
            return await checkup.check_queue(services, is_served=await is_served(scope, runtime))

        tell(name, "queue", [*check_clock(runtime), *await self._awaited(queue())])
        tell(name, "reports", await self._awaited(checkup.check_reports(services)))
        if wishes.logins:
            with progress(f"{name}: logging in") as advance:
                found = await self._awaited(checkup.check_logins(services, advance))
            tell(name, "accounts", found)
        if wishes.senders:
            with busy(f"{name}: asking DNS"):
                found = await self._awaited(checkup.check_senders(services, wishes.selectors, wishes.dns))
            tell(name, "domains", found)

    def _guarded(self, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
        """What a check finds; what it trips over is a finding, too: a patient may have anything."""
        try:
            yield from look()
        except Exception as error:  # noqa: BLE001 - as it says
            yield self._tripped(error)

    async def _awaited(self, look: Awaitable[list[Finding]]) -> list[Finding]:
        """As `_guarded`."""
        try:
            return await look
        except Exception as error:  # noqa: BLE001 - as there
            return [self._tripped(error)]

    def _tripped(self, error: Exception) -> Finding:
        if self._debug:
            traceback.print_exception(error)
        return failure("unchecked", f"not checked: {describe(error)[0]}")


def _config_of(scope: Scope) -> Config | InvalidConfig | Finding:
    try:
        return scope.load_config()
    except InvalidConfig as error:
        return error
    except (MailProxyError, OSError) as error:
        return failure("config", describe(error)[0])
