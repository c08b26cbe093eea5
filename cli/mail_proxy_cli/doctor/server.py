"""An instance's server: whether it runs and answers, or could start."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator

from mail_proxy import __version__
from mail_proxy.config import Config
from mail_proxy.daemon.detach import is_free
from mail_proxy.daemon.process import ServerInfo, is_locked, last_port, running
from mail_proxy.errors import InstanceError
from mail_proxy.instance import Instance
from mail_proxy.model.findings import Finding, failure, note, ok, warning
from mail_proxy_cli.output import age

TIMEOUT = 5.0
MAX_ANSWER = 65536


def check_server(instance: Instance, config: Config | None) -> Iterator[Finding]:
    """The process and its port; without a valid configuration it is not known which port that would be."""
    name = instance.name
    had_pid_file = instance.pid_file.exists()
    try:
        info = running(instance)
        is_starting = info is None and is_locked(instance)
    except InstanceError as error:
        yield warning("process", str(error))
        return
    except OSError as error:
        yield failure("process", f"{instance.directory} cannot be locked: {error.strerror}")
        return
    if is_starting:
        yield warning("process", "it is starting, or hangs while it does", f"mail-proxy stop {name} --force")
    elif info is None:
        if had_pid_file:
            yield note("process", "the last server ended without a word; its pid file is removed")
        yield note("process", "it is stopped", f"mail-proxy start {name}")
        if config is not None:
            yield _check_free(instance, config)
    else:
        yield ok("process", f"it runs as pid {info.pid}, for {age(time.time() - info.started_at)}")
        yield _check_health(name, info)


def _check_free(instance: Instance, config: Config) -> Finding:
    """A port that nobody asked for gives way to another, one that was asked for does not."""
    is_default = config.source("port") == "default"
    port = (last_port(instance) if is_default else None) or config.port
    try:
        is_there = port == 0 or is_free(config.host, port)
    except InstanceError as error:
        return failure("port", str(error), f"mail-proxy {instance.name} config set host, or port")
    if is_there:
        return ok("port", f"port {port} on {config.host} is free" if port else "any free port will do")
    said = f"port {port} on {config.host} is taken by another program"
    if is_default:
        return note("port", f"{said}: the server will take the next free one")
    return failure("port", said, f"stop that, or mail-proxy start {instance.name} --port another")


def _check_health(name: str, info: ServerInfo) -> Finding:
    connection = http.client.HTTPConnection(info.connect_host, info.port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/health")
            response = connection.getresponse()
            answer = json.loads(response.read(MAX_ANSWER))
            version, database = answer["version"], answer["database"]
        except (OSError, http.client.HTTPException) as error:
            return failure(
                "health",
                f"{info.url} does not answer: {str(error) or type(error).__name__}",
                f"mail-proxy {name} logs tells why; mail-proxy restart {name}",
            )
        except (ValueError, KeyError, TypeError):
            return failure("health", f"what answers at {info.url} is not mail-proxy")
    if database != "ok":
        return failure("health", f"{info.url} answers, and cannot reach its database")
    if version != __version__:
        return warning(
            "health",
            f"{info.url} is served by mail-proxy {version}, {__version__} is installed",
            f"mail-proxy restart {name}",
        )
    return ok("health", f"{info.url} answers")
