"""The composition of a server process: what the configuration says, made into one `Server`."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec

from mail_proxy import __version__
from mail_proxy.addresses import AddressPolicy
from mail_proxy.api.app import create_app
from mail_proxy.api.gate import Gate
from mail_proxy.api.vitals import Vitals
from mail_proxy.bell import LocalBell
from mail_proxy.callbacks.poster import Poster
from mail_proxy.config import Config, load_config, reload_config
from mail_proxy.daemon.cleaner import Cleaner
from mail_proxy.daemon.dispatcher import Dispatcher
from mail_proxy.daemon.files import allow_many_files
from mail_proxy.daemon.housekeeping import Housekeeping
from mail_proxy.daemon.http import HttpServer, listening
from mail_proxy.daemon.identity import with_own_id
from mail_proxy.daemon.preparation import Preparer
from mail_proxy.daemon.process import Announcer
from mail_proxy.daemon.reporter import Reporter
from mail_proxy.daemon.server import Server
from mail_proxy.daemon.timekeeping import Timekeeper
from mail_proxy.daemon.vigil import GRACE, Vigil
from mail_proxy.errors import InstanceError, MailProxyError
from mail_proxy.instance import Instance
from mail_proxy.logging import LogFile, setup
from mail_proxy.metrics import Metrics
from mail_proxy.net import GuardedClient, open_client
from mail_proxy.runtime import Runtime, open_services
from mail_proxy.smtp.agent import DeliveryAgent
from mail_proxy.smtp.transport import Timeouts

log = logging.getLogger(__name__)

SAFE_TOKEN = 32
"""Characters from which on a token is too long to be guessed."""


def run(
    config: Config, instance: Instance | None, announcer: Announcer | None, *, environ: Mapping[str, str]
) -> None:
    """Run `serve` to its end, on uvloop where that is installed (the extra ``speed``)."""
    serving = serve(config, instance, announcer, environ=environ)
    if find_spec("uvloop") is None:
        asyncio.run(serving)
    else:
        import uvloop

        uvloop.run(serving)


async def serve(
    config: Config,
    instance: Instance | None,
    announcer: Announcer | None,
    *,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Be the server of an instance until SIGTERM or SIGINT; then drain and return.

    Raises `InstanceError` when the address cannot be listened on, and what `open_services` raises.
    """
    environ = os.environ if environ is None else environ
    allow_many_files()
    log_file = _start_logging(config, instance)
    if instance is not None:
        _warn(config, instance)
    bell = LocalBell()
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listening(config.host, config.port))
        runtime = await stack.enter_async_context(
            open_services(config, instance, bell=bell, environ=environ, metrics=metrics)
        )
        runtime = await with_own_id(runtime)
        client = await stack.enter_async_context(open_client(config.allowed_networks))
        agent = _agent(runtime)
        stack.push_async_callback(agent.close)
        metrics.count_connections(lambda: agent.open_connections)
        vitals = Vitals(started_at=runtime.clock.now())
        gate = Gate(config, runtime.clock)
        reporter = Reporter(
            store=runtime.store,
            clock=runtime.clock,
            config=config,
            poster=Poster(client),
            metrics=metrics,
            owner=runtime.node_id,
        )
        dispatcher = _dispatcher(runtime, agent, metrics, reporter)
        bell.add(dispatcher.wake)
        bell.add(reporter.wake)
        host, port = listener.getsockname()[:2]

        def up() -> None:
            gc.collect()
            gc.freeze()  # what is there now stays: later collections need not look through it each time
            log.info(
                "mail-proxy %s answers on %s port %d, database %s", __version__, host, port, runtime.where
            )
            if announcer is not None:
                announcer.announce(host, port)

        server = Server(
            http=HttpServer(create_app(runtime, metrics=metrics, vitals=vitals, gate=gate), listener),
            dispatcher=dispatcher,
            reporter=reporter,
            housekeeping=Housekeeping(runtime, agent, lambda asked: bell.ring_now(run_now=asked)),
            cleaner=Cleaner(runtime.services.removal, runtime.clock),
            timekeeper=Timekeeper(runtime.clock),
            vitals=vitals,
            bell=bell,
            on_up=up,
            on_hangup=_Rereading(
                runtime, environ, log_file, _Followers(runtime, dispatcher, reporter, agent, client, gate)
            ),
        )
        await server.run()


def _start_logging(config: Config, instance: Instance | None) -> LogFile | None:
    """Log to standard error; when that is the instance's server.log already, rotate it."""
    handler = LogFile(instance.log_file, owned=(1, 2)) if instance and _is_our_stderr(instance) else None
    setup(config.log_level, config.log_format, handler=handler)
    return handler


def _warn(config: Config, instance: Instance) -> None:
    """Say what is not as safe as it should be (contract: security.md, Tokens, Files)."""
    for warning in instance.repair_permissions():
        log.warning("%s", warning)
    if len(config.admin_token(instance)) < SAFE_TOKEN:
        log.warning("the admin token has fewer than %d characters: it can be guessed", SAFE_TOKEN)


def _is_our_stderr(instance: Instance) -> bool:
    try:
        ours, theirs = os.fstat(sys.stderr.fileno()), instance.log_file.stat()
    except (OSError, ValueError):
        return False
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


def _agent(runtime: Runtime) -> DeliveryAgent:
    config = runtime.config
    return DeliveryAgent(
        timeouts=_timeouts(config),
        max_concurrent_per_account=config.max_concurrent_per_account,
        sandbox_dir=runtime.instance.sandbox if runtime.instance else None,
        clock=runtime.clock,
        policy=AddressPolicy.of(config.allowed_networks),
    )


def _timeouts(config: Config) -> Timeouts:
    return Timeouts(
        connect=config.smtp_connect_timeout,
        command=config.smtp_command_timeout,
        data=config.smtp_data_timeout,
        final=config.smtp_final_timeout,
    )


def _dispatcher(runtime: Runtime, agent: DeliveryAgent, metrics: Metrics, reporter: Reporter) -> Dispatcher:
    # There is one server to a SQLite file; and who acts only when asked keeps no watch.
    has_others = runtime.store.database.dialect == "postgres" and not runtime.config.test_mode
    return Dispatcher(
        store=runtime.store,
        clock=runtime.clock,
        config=runtime.config,
        agent=agent,
        preparer=Preparer(runtime.store, runtime.tracking),
        metrics=metrics,
        owner=runtime.node_id,
        vigil=Vigil(GRACE if has_others else 0.0),
        told=reporter.wake.set,
    )


@dataclass(frozen=True, slots=True)
class _Followers:
    """All that a new configuration concerns while the server runs."""

    runtime: Runtime
    dispatcher: Dispatcher
    reporter: Reporter
    agent: DeliveryAgent
    client: GuardedClient
    gate: Gate

    def reconfigure(self, config: Config) -> None:
        """Hand it to each; raises `InstanceError` when the token cannot be read, after all the rest."""
        policy = AddressPolicy.of(config.allowed_networks)
        self.dispatcher.reconfigure(config)
        self.reporter.reconfigure(config)
        self.runtime.services.intake.reconfigure(config)
        self.runtime.services.removal.reconfigure(config)
        self.runtime.services.reports.reconfigure(config)
        self.runtime.services.account_check.reconfigure(config)
        self.client.reconfigure(policy)
        self.gate.reconfigure(config)
        self.agent.reconfigure(
            timeouts=_timeouts(config),
            max_concurrent_per_account=config.max_concurrent_per_account,
            policy=policy,
        )
        if self.runtime.instance is not None:
            self.runtime.services.authentication.set_admin_token(config.admin_token(self.runtime.instance))


class _Rereading:
    """SIGHUP: reopen the log, and read anew the token and what of the configuration needs no restart."""

    def __init__(
        self,
        runtime: Runtime,
        environ: Mapping[str, str],
        log_file: LogFile | None,
        followers: _Followers,
    ) -> None:
        self._config = runtime.config
        self._instance = runtime.instance
        self._environ = environ
        self._log_file = log_file
        self._followers = followers

    def __call__(self) -> None:
        self._reopen_log()
        directory = self._instance.directory if self._instance else None
        options = {
            key: getattr(self._config, key) for key, why in self._config.sources.items() if why == "option"
        }
        try:
            fresh = load_config(directory, self._environ, options)
        except MailProxyError as error:
            log.error("the configuration stays as it was: %s", error)  # noqa: TRY400 - no traceback for a typo
            return
        self._config, needing_restart = reload_config(self._config, fresh)
        setup(self._config.log_level, self._config.log_format, handler=self._log_file)
        try:
            self._followers.reconfigure(self._config)
        except InstanceError as error:
            log.error("the admin token stays as it was: %s", error)  # noqa: TRY400 - nor for a lost file
        log.info("configuration read anew")
        if needing_restart:
            log.warning("changed, but only a restart applies it: %s", ", ".join(needing_restart))

    def _reopen_log(self) -> None:
        if self._log_file is None:
            return
        try:
            self._log_file.reopen()
        except OSError as error:
            log.error("the log stays where it was: %s", error)  # noqa: TRY400 - nor for a full disk
