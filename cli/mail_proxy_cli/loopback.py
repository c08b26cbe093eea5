"""Asking an instance's running server over its API, with the instance's token."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Mapping
from urllib.parse import urlencode

from mail_proxy.daemon.process import running
from mail_proxy.errors import InstanceError, NotRunning
from mail_proxy_cli.scope import Scope

TIMEOUT = 30.0
MAX_ANSWER = 1024 * 1024


def post(scope: Scope, path: str, query: Mapping[str, str | None]) -> dict[str, object]:
    """POST to the instance's server and return its answer.

    Raises NotRunning, or InstanceError with the server's own words when it refuses.
    """
    instance = scope.instance
    info = running(instance)
    if info is None:
        raise NotRunning(f"instance '{instance.name}' is not running: mail-proxy start {instance.name}")
    config = scope.load_config()
    token = config.admin_token(instance)
    named = {name: value for name, value in query.items() if value is not None}
    target = f"{path}?{urlencode(named)}" if named else path
    connection = http.client.HTTPConnection(info.connect_host, info.port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        try:
            connection.request(
                "POST", target, headers={"X-API-Token": token.encode("utf-8"), "Content-Length": "0"}
            )
            response = connection.getresponse()
            status, body = response.status, response.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise InstanceError(
                f"the server of '{instance.name}' at {info.url} does not answer: {error}"
            ) from error
    return _judged(instance.name, status, body)


def _judged(name: str, status: int, body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if status == http.client.UNAUTHORIZED:
        raise InstanceError(
            f"the server of '{name}' does not know this token: was it started with another GMP_API_TOKEN?"
        )
    if status != http.client.OK or not isinstance(answer, dict):
        said = answer.get("error") if isinstance(answer, dict) else None
        raise InstanceError(f"the server of '{name}' answered {status}: {said or 'no reason given'}")
    return answer
