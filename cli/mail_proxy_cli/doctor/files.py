"""An instance's directory: whose it is, its configuration, its token, the room on its disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mail_proxy.config import SETTINGS, Config
from mail_proxy.errors import InstanceError, InvalidConfig
from mail_proxy.instance import Instance
from mail_proxy.model.findings import Finding, failure, ok, warning

LITTLE = 2**30
"""Bytes of room below which it is time to do something."""

TOO_LITTLE = 100 * 2**20

SHORT_TOKEN = 32
"""Characters below which a token can be guessed (contract: security.md, Tokens)."""


def check_files(instance: Instance, *, fix: bool) -> Iterator[Finding]:
    """Whether others may read or change what is in the directory."""
    if not os.access(instance.directory, os.R_OK | os.W_OK | os.X_OK):
        yield failure(
            "directory",
            f"{instance.directory} cannot be read and written",
            "run it as the user it belongs to",
        )
        return
    loose = instance.loose_permissions()
    repaired = instance.repair_permissions() if fix and loose else []
    left = instance.loose_permissions() if repaired else loose
    for said in left:
        yield warning("permissions", said, f"mail-proxy doctor {instance.name} --fix, as its owner")
    for said in repaired:
        if said not in left:
            yield ok("permissions", said)
    if not loose:
        yield ok("permissions", f"{instance.directory} is yours alone")


def check_config(instance: Instance, found: Config | InvalidConfig) -> Iterator[Finding]:
    """The settings, or what is wrong with each."""
    if isinstance(found, InvalidConfig):
        said = [str(fault) for fault in found.faults] or [str(found)]
        for fault in said:
            yield failure("config", fault, f"edit {instance.config_file}, or the environment")
        return
    given = [key for key in SETTINGS if found.source(key) != "default"]
    yield ok("config", f"given are {', '.join(given)}" if given else "all settings are as by default")


def check_token(instance: Instance, config: Config) -> Iterator[Finding]:
    """The admin token."""
    try:
        token = config.admin_token(instance)
    except InstanceError as error:
        yield failure("token", str(error), f"mail-proxy {instance.name} token --regenerate makes a new one")
        return
    where = config.source("api_token") if config.api_token else str(instance.token_file)
    if len(token) < SHORT_TOKEN:
        yield warning(
            "token", f"the admin token ({where}) has fewer than {SHORT_TOKEN} characters: it can be guessed"
        )
    else:
        yield ok("token", f"the admin token comes from {where}")


def check_disk(places: list[Path]) -> Iterator[Finding]:
    """The room that is left where the instance writes; places on one disk count once."""
    seen = set()
    for place in places:
        nearest = next(each for each in (place, *place.parents) if each.exists())
        device = nearest.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(nearest).free
        said = f"{_size(free)} free for {place}"
        if free < TOO_LITTLE:
            yield failure("disk", said, "make room: a full disk takes no messages")
        elif free < LITTLE:
            yield warning("disk", said, "make room")
        else:
            yield ok("disk", said)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= LITTLE else f"{count / 2**20:.0f} MiB"
