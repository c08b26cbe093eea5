"""What a command is about: which instance, which tenant, and how this run was called."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from mail_proxy.instance import Instance, home

if TYPE_CHECKING:
    from mail_proxy.config import Config
    from mail_proxy_cli.connect.held import Held

DUMB = ("dumb", "unknown")

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Invocation:
    """How the program was called; the global options change it while the words are read."""

    environ: Mapping[str, str]
    debug: bool = False
    color: bool = True
    held: Held | None = None
    """In an interactive session: the services that are open."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Invocation:
        return cls(
            environ,
            debug=environ.get("GMP_DEBUG", "").lower() in ("1", "true", "yes", "on"),
            color=not environ.get("NO_COLOR") and environ.get("TERM") not in DUMB,
        )

    @property
    def is_dumb(self) -> bool:
        """Whether the terminal can do no more than print, or nobody says what it can."""
        return self.environ.get("TERM", "dumb") in DUMB


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The words read so far. `implied` says that the context, not a word, gave the instance."""

    invocation: Invocation = field(default_factory=lambda: Invocation.of(os.environ))
    named_instance: Instance | None = None
    named_tenant: str | None = None
    implied: bool = False

    @property
    def environ(self) -> Mapping[str, str]:
        return self.invocation.environ

    @property
    def home(self) -> Path:
        return home(self.environ)

    @property
    def instance(self) -> Instance:
        """The instance a command of an instance is about."""
        if self.named_instance is None:
            raise click.UsageError("which instance? mail-proxy <instance> …")
        return self.named_instance

    @property
    def tenant(self) -> str:
        """The tenant a command of a tenant is about."""
        if self.named_tenant is None:
            raise click.UsageError("which tenant? mail-proxy <instance> <tenant> …")
        return self.named_tenant

    def load_config(self, options: Mapping[str, object] = MappingProxyType({})) -> Config:
        """Read the instance's settings, of which `debug` is this run's own."""
        from mail_proxy.config import load_config

        config = load_config(self.instance.directory, self.environ, options)
        self.invocation.debug |= config.debug
        return config

    def at(self, instance: Instance, tenant: str | None = None, *, implied: bool = False) -> Scope:
        """Go to an instance, or to a tenant of it."""
        return replace(self, named_instance=instance, named_tenant=tenant, implied=implied)


def pass_scope(function: Callable[Concatenate[Scope, P], R]) -> Callable[P, R]:
    """Hand the command's function its Scope as the first argument."""
    return click.pass_obj(function)
