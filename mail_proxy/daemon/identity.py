"""Under which id a server owns leases: that of its directory, unless another server goes by it.

A directory that was copied, or came with the image of a machine, has the id of the first. Under one id each
server that starts would take what the other is sending for its own of a former life, and send it again.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from dataclasses import replace

from mail_proxy import __version__
from mail_proxy.instance import Instance
from mail_proxy.model.queue import NodeInfo
from mail_proxy.runtime import Runtime
from mail_proxy.services.instance import NODE_TIMEOUT

log = logging.getLogger(__name__)


def node_of(runtime: Runtime) -> NodeInfo:
    """Describe this process, as others on its database see it."""
    now = runtime.clock.now()
    return NodeInfo(
        node_id=runtime.node_id,
        name=_name_of(runtime.instance),
        pid=os.getpid(),
        version=__version__,
        started_at=now,
        seen_at=now,
    )


def has_ended(node: NodeInfo, instance: Instance, ending: int | None = None) -> bool:
    """Tell of a server seen on a database whether it was the instance's, on this machine, and has ended.

    One that is about to, with the process id `ending`, counts too.
    """
    return node.name == _name_of(instance) and (node.pid == ending or not _is_process(node.pid))


def _name_of(instance: Instance | None) -> str:
    name = instance.name if instance else "mail-proxy"
    return f"{name}@{socket.gethostname()}"


async def with_own_id(runtime: Runtime) -> Runtime:
    """Take the place of this server among those on its database; under a new id if another has its own.

    What it left itself in a former life that seems to be another server waits then until its leases run out.
    Raises `DatabaseError`.
    """
    node = node_of(runtime)

    def is_over(other: NodeInfo) -> bool:
        is_former_self = other.name == node.name and (other.pid == node.pid or not _is_process(other.pid))
        return is_former_self or not 0 <= node.seen_at - other.seen_at < NODE_TIMEOUT

    if runtime.store.database.dialect == "sqlite" or await runtime.store.nodes.enter(node, is_over):
        return runtime
    log.warning(
        "another server has the id of this instance's directory, which may be a copy of its own, or has died "
        "just now: this one goes by a new id until it ends (remove the file '%s' of a copy)",
        "node" if runtime.instance is None else runtime.instance.node_file,
    )
    return replace(runtime, node_id=secrets.token_hex(16))


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
