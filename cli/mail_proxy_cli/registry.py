"""Every command in one table, so that help and completion import nothing but this.

``target`` names the module and the Click command in it; the line of help is also the first line of the
command's own help (a test compares them).
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One command: where it is, under which heading help shows it, in one line, and an example.

    `may_be_of_tenant`: a command of an instance that is about one tenant when ``--tenant`` names one.
    `may_be_elsewhere`: it may be about a server elsewhere, and then needs no instance here.
    """

    name: str
    target: str
    heading: str
    help: str
    example: str
    aliases: tuple[str, ...] = ()
    may_be_of_tenant: bool = False
    may_be_elsewhere: bool = False


SERVERS = "Servers"
SHELL = "This shell"
OVERVIEW = "Overview"
TENANTS = "Tenants"
ACCESS = "Access"
WORK = "Mail"
ACCOUNTS = "Accounts"
STORAGES = "Storages"
DATABASE = "Database"
SETTINGS = "Settings"

GLOBAL = (
    Entry(
        "list",
        "instances:list_instances",
        SERVERS,
        "Show all instances and their servers.",
        "mail-proxy list",
        ("ls",),
    ),
    Entry(
        "start",
        "lifecycle:start",
        SERVERS,
        "Start an instance's server, making the instance if it is new.",
        "mail-proxy start myserver",
    ),
    Entry(
        "serve",
        "lifecycle:serve",
        SERVERS,
        "Run a server in the foreground, for containers and systemd.",
        "mail-proxy serve myserver --host 0.0.0.0",
    ),
    Entry(
        "stop",
        "lifecycle:stop",
        SERVERS,
        "Stop a server after what it is sending.",
        "mail-proxy stop myserver",
    ),
    Entry(
        "restart",
        "lifecycle:restart",
        SERVERS,
        "Stop a server and start it again where it was.",
        "mail-proxy restart myserver",
    ),
    Entry(
        "status",
        "instances:status",
        SERVERS,
        "Show one server: where it runs, its queue, its last error.",
        "mail-proxy status myserver",
    ),
    Entry(
        "delete",
        "instances:delete",
        SERVERS,
        "Delete an instance's directory and all that is in it.",
        "mail-proxy delete myserver",
    ),
    Entry(
        "doctor",
        "doctor.command:doctor",
        SERVERS,
        "Check installation, permissions, ports, database, accounts, DNS.",
        "mail-proxy doctor myserver",
    ),
    Entry(
        "demo",
        "demo.command:demo",
        SERVERS,
        "Show a whole run on this machine, with nothing to configure.",
        "mail-proxy demo",
    ),
    Entry(
        "use",
        "use:use",
        SHELL,
        "Choose the instance and tenant that may then be left out.",
        "mail-proxy use myserver/acme",
    ),
    Entry(
        "current",
        "use:current",
        SHELL,
        "Show what 'use' has chosen.",
        "mail-proxy current --export",
    ),
    Entry(
        "completion",
        "completion:completion",
        SHELL,
        "Print the completion script for a shell.",
        'eval "$(mail-proxy completion bash)"',
    ),
    Entry(
        "generate-key",
        "keys:generate_key",
        SHELL,
        "Print a new encryption key.",
        "mail-proxy generate-key",
    ),
)

INSTANCE = (
    Entry(
        "info",
        "overview:instance_info",
        OVERVIEW,
        "Show an instance: where it is, what it holds, its settings.",
        "mail-proxy myserver info",
    ),
    Entry(
        "logs",
        "logs:logs",
        OVERVIEW,
        "Show the last lines of the server's log.",
        "mail-proxy myserver logs -n 20",
    ),
    Entry(
        "stats",
        "overview:stats",
        OVERVIEW,
        "Count messages by state.",
        "mail-proxy myserver stats --json",
    ),
    Entry(
        "suspend",
        "suspension:suspend_instance",
        WORK,
        "Stop sending for all tenants, until 'activate'.",
        "mail-proxy myserver suspend",
    ),
    Entry(
        "activate",
        "suspension:activate_instance",
        WORK,
        "Send again for all tenants.",
        "mail-proxy myserver activate",
    ),
    Entry(
        "top",
        "top.command:top",
        OVERVIEW,
        "Watch the queue, the rates, the accounts and the newest errors.",
        "mail-proxy myserver top",
        may_be_of_tenant=True,
    ),
    Entry(
        "run-now",
        "run_now:instance_run_now",
        WORK,
        "Make the running server dispatch and report now.",
        "mail-proxy myserver run-now",
    ),
    Entry(
        "connect",
        "connect.command:connect",
        OVERVIEW,
        "Work with an instance: commands and Python at one prompt, or a script.",
        "mail-proxy myserver connect",
        may_be_elsewhere=True,
    ),
    Entry(
        "reports",
        "reports:reports",
        WORK,
        "Show what applications were not told, and tell them again.",
        "mail-proxy myserver reports list --failed",
        may_be_of_tenant=True,
    ),
    Entry(
        "tenants",
        "tenants:tenants",
        TENANTS,
        "List, show, add, change and delete tenants, and their API keys.",
        "mail-proxy myserver tenants add acme --name 'Acme Ltd'",
    ),
    Entry(
        "db",
        "databases:db",
        DATABASE,
        "Show the database's version, upgrade it, back it up, move it to another.",
        "mail-proxy myserver db version",
    ),
    Entry(
        "token",
        "overview:token",
        ACCESS,
        "Print the instance's admin token, or make a new one.",
        "mail-proxy myserver token",
    ),
    Entry(
        "rotate-key",
        "keys:rotate_key",
        ACCESS,
        "Encrypt every secret anew, with a new key.",
        "mail-proxy myserver rotate-key",
    ),
    Entry(
        "command-log",
        "command_log:command_log",
        ACCESS,
        "List, export and purge the log of what was asked of the API.",
        "mail-proxy myserver command-log list --since -2h",
    ),
    Entry(
        "config",
        "configuration:config",
        SETTINGS,
        "Show the settings and where they come from; change them.",
        "mail-proxy myserver config show",
    ),
)

TENANT = (
    Entry(
        "info",
        "overview:tenant_info",
        OVERVIEW,
        "Show a tenant and what it has in the queue.",
        "mail-proxy myserver acme info",
    ),
    Entry(
        "send",
        "send.command:send",
        WORK,
        "Queue .eml files, or standard input, exactly as written.",
        "mail-proxy myserver acme send hello.eml --wait",
    ),
    Entry(
        "messages",
        "messages:messages",
        WORK,
        "List messages, show them, explain why they wait, try them again, delete them.",
        "mail-proxy myserver acme messages list --status error",
    ),
    Entry(
        "suspend",
        "suspension:suspend_tenant",
        WORK,
        "Hold back what the tenant, or one batch of it, has not sent yet, until 'activate'.",
        "mail-proxy myserver acme suspend --batch spring",
    ),
    Entry(
        "activate",
        "suspension:activate_tenant",
        WORK,
        "Let the tenant's messages go on, those of suspended batches too, or only one batch.",
        "mail-proxy myserver acme activate --batch spring",
    ),
    Entry(
        "run-now",
        "run_now:tenant_run_now",
        WORK,
        "Make the running server dispatch and report for this tenant now.",
        "mail-proxy myserver acme run-now",
    ),
    Entry(
        "accounts",
        "accounts:accounts",
        ACCOUNTS,
        "List, show, add, change, delete and test SMTP accounts.",
        "mail-proxy myserver acme accounts add main --host smtp.acme.com --user bot --password-stdin",
    ),
    Entry(
        "storages",
        "storages:storages",
        STORAGES,
        "List, show, add, delete and test storages of files.",
        "mail-proxy myserver acme storages add files --protocol local --base-path /srv/files",
    ),
)


def by_name(entries: tuple[Entry, ...]) -> dict[str, Entry]:
    """Index a table by its names and aliases."""
    return {name: entry for entry in entries for name in (entry.name, *entry.aliases)}


RESERVED = frozenset(by_name(GLOBAL + INSTANCE + TENANT))
