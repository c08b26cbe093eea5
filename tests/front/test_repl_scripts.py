"""Scripts of a session: the same ``proxy`` over an instance's services and over its server's API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mail_proxy.encryption import generate_key
from tests.support.cli import QuickCli
from tests.support.server import Server

MESSAGE = '{"id": "m1", "from": "bot@acme.test", "to": "ann@example.test", "subject": "Hi", "body": "Hello"}'
BY_NOBODY = '{"id": "m2", "from": "bot@acme.test", "to": "nobody", "body": "Hello"}'

MUTE = "class Mute(Exception):\n    def __str__(self):\n        return 1 / 0\n"

STORY = (
    ("proxy.tenants.add('TENANT', name='Acme Ltd')['id']", "'TENANT'"),
    ("len(proxy.tenants.new_api_key('TENANT'))", "43"),
    ("proxy.tenants.revoke_api_key('TENANT')", None),
    ("proxy.tenants.update('TENANT', name='Acme')['name']", "'Acme'"),
    ("'TENANT' in [each['id'] for each in proxy.tenants.list(active_only=True)]", "True"),
    ("use TENANT", None),
    ("proxy.tenants.get()['name']", "'Acme'"),
    ("proxy.accounts.add('main', host='sandbox', from_address='bot@acme.test')['tls']", "'starttls'"),
    ("proxy.accounts.update('main', ttl=60)['ttl']", "60"),
    ("[each['id'] for each in proxy.accounts.list()]", "['main']"),
    ("proxy.accounts.get('main')['tenant_id']", "'TENANT'"),
    ("proxy.accounts.test('main')['smtp']['ok']", "True"),
    ("proxy.suspend()['suspended_batches']", "['*']"),
    (f"proxy.messages.add({MESSAGE})['queued']", "1"),
    (f"proxy.messages.add({BY_NOBODY})['rejected'][0]['errors'][0]['loc'][0]", "'to'"),
    (
        f"[len(proxy.messages.add([{MESSAGE}])[each]) for each in ('ids', 'rejected', 'warnings')]",
        "[1, 0, 0]",
    ),
    ("[each['id'] for each in proxy.messages.pending()]", "['m1']"),
    ("[len(each) for each in (proxy.messages.sent(), proxy.messages.errors())]", "[0, 0]"),
    ("[len(proxy.messages.list(since=since)) for since in (0, '2100-01-01')]", "[1, 0]"),
    ("proxy.messages.get('m1')['message']['subject']", "'Hi'"),
    ("[each['event_type'] for each in proxy.messages.events('m1')][0]", "'queued'"),
    ("proxy.messages.retry('m1', at=5_000_000_000)['deferred_ts']", "5000000000"),
    ("proxy.stats()['messages']['deferred']", "1"),
    ("proxy.stats()['waiting'][0]['count']", "1"),
    ("proxy.messages.delete('m1')['removed']", "1"),
    ("proxy.messages.delete(['m1', 'm3'], 'TENANT')['not_found']", "['m1', 'm3']"),
    ("proxy.messages.cleanup('TENANT', 3600)", "0"),
    ("proxy.activate()['suspended_batches']", "[]"),
    ("proxy.suspend(batch_code='spring')['suspended_batches']", "['spring']"),
    ("proxy.activate(batch_code='spring')['suspended_batches']", "[]"),
    ("proxy.storages.add('files', 'local', {'base_path': '/srv'})['protocol']", "'local'"),
    ("proxy.storages.update('files', 'local', {'base_path': '/opt'})['config']", "{'base_path': '/opt'}"),
    ("[each['name'] for each in proxy.storages.list()]", "['files']"),
    ("proxy.storages.delete('files')", None),
    ("proxy.run_now()", None),
    ("dict(proxy.suspend('*'))", "{'active': False}"),
    ("proxy.status()['active']", "False"),
    ("dict(proxy.activate('*'))", "{'active': True}"),
    ("[proxy.status()[each] for each in ('running', 'active', 'pending_messages')]", "[True, True, 2]"),
    ("proxy.instance.update(bounce_imap_port=1993)['bounce_imap_port']", "1993"),
    ("proxy.instance.get()['bounce_imap_port']", "1993"),
    ("proxy.accounts.delete('main')", None),
    ("use -", None),
    ("proxy.tenants.delete('TENANT')", None),
    ("'TENANT' in [each['id'] for each in proxy.tenants.list()]", "False"),
)

FAILING = (
    ("proxy.messages.get('nope', 'acme')", "no message 'nope'"),
    ("proxy.tenants.get('nope')", "no tenant 'nope'"),
    ("proxy.tenants.get()", "which tenant?"),
    ("proxy.accounts.add('x', host='h')", "which tenant?"),
    ("proxy.tenants.add('acme')", "'acme'"),
    ("proxy.accounts.add('main', host='h', tenant_id='acme')", "'main'"),
    ("proxy.accounts.update('main', port=0)", "port"),
    ("proxy.storages.get('nope', 'acme')", "no storage 'nope'"),
    ("proxy.messages.list('perhaps')", "status"),
    ("proxy.messages.list(since='yesterday')", "'yesterday' is no time"),
    ("proxy.messages.list(limit=0)", "limit"),
    ("proxy.stats('nope')", "no tenant 'nope'"),
)

SEEN = (
    "proxy.tenants.list()",
    "proxy.tenants.get('acme')",
    "proxy.accounts.list()",
    "proxy.accounts.get('main')",
    "proxy.storages.list()",
    "proxy.messages.list()",
    "proxy.messages.list(limit=1)",
    "proxy.messages.get('order-1')",
    "proxy.messages.events('order-1')",
    "proxy.stats()",
    "proxy.stats('acme')",
    "proxy.instance.get()",
    "proxy.command_log.list()",
    "{**proxy.status(), 'uptime_seconds': 0}",
)

EML = "From: bot@acme.test\nTo: ann@example.test\nSubject: Hi\n\nHello\n"


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[tuple[QuickCli, Server]]:
    """Instance 'myserver', being served on either engine: tenant 'acme', account 'main', two messages."""
    key = generate_key()
    url = database_url if "://" in database_url else None
    with Server(tmp_path / "home", "myserver", database_url=url, key=key) as server:
        known = {"MAIL_PROXY_ENCRYPTION_KEY": key, **({"GMP_DATABASE_URL": url} if url else {})}
        cli = QuickCli(tmp_path, {**known, "MAIL_PROXY_INSTANCE": "myserver"})
        cli.ok("tenants", "add", "acme")
        cli.ok("acme", "accounts", "add", "main", "--host", "sandbox")
        cli.ok("acme", "suspend")
        for message_id in ("order-1", "order-2"):
            cli.ok("acme", "send", "-", "--id", message_id, "--batch", "spring", stdin=EML)
        server.client().post("/storage?tenant_id=acme", {
            "name": "files", "protocol": "local", "config": {"base_path": "/srv"},
        })  # fmt: skip
        yield cli, server


def test_the_same_here_and_elsewhere(served: tuple[QuickCli, Server]) -> None:
    """Every verb does the same over the services and over the API, and shows the same of it."""
    cli, server = served
    sessions = {
        "here": ("myserver", "connect"),
        "there": ("connect", "--url", server.url, "--token", server.token),
    }
    for tenant, words in sessions.items():
        lines = [line.replace("TENANT", tenant) for line, _ in STORY]
        done = cli(*words, stdin="\n".join(lines))
        told = [shown.replace("TENANT", tenant) for _, shown in STORY if shown is not None]
        assert (done.err, done.out.splitlines(), done.code) == ("", told, 0)

    seen = "import json\n" + "\n".join(f"print(json.dumps({each}))" for each in SEEN)
    shown = [cli(*words, stdin=seen) for words in sessions.values()]
    assert [done.err for done in shown] == ["", ""]
    for each, here, there in zip(SEEN, *(done.out.splitlines() for done in shown), strict=True):
        assert json.loads(here) == json.loads(there), each

    for words in sessions.values():
        lines = [f"try:\n    {line}\nexcept Exception as error:\n    print(error)\n" for line, _ in FAILING]
        said = cli(*words, stdin="".join(lines)).out.splitlines()
        assert len(said) == len(FAILING)
        for line, (call, part) in zip(said, FAILING, strict=True):
            assert part in line, call


def test_commands_while_it_is_served(served: tuple[QuickCli, Server]) -> None:
    cli, _server = served
    script = (
        "use acme\nactivate\nsend hello.eml --id o3 --wait\nrun-now\nproxy.messages.get('o3')['status']\n"
    )
    (cli.root / "hello.eml").write_text(EML)
    done = cli("connect", stdin=script)
    assert (done.code, done.out.splitlines()[-1]) == (0, "'sent'")


def test_what_cannot_be_done_elsewhere_is_said(served: tuple[QuickCli, Server]) -> None:
    cli, server = served
    words = ("connect", "--url", server.url, "--token-stdin")
    done = cli(*words, stdin=f"{server.token}\nmessages list\n")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "line 1: 'messages' works on an instance of this machine" in done.err
    for url, token, said in (
        (server.url, "wrong", "oken"),
        ("http://127.0.0.1:1", "x", "did not answer"),
        ("ftp://x", "x", "the URL must be"),
    ):
        done = cli("connect", "--url", url, "--token", token, stdin="1")
        assert done.code in (1, 2)
        assert said in done.err


@pytest.fixture
def shop(quick: QuickCli) -> QuickCli:
    """Instance 'myserver', stopped, with tenant 'acme', account 'main', message 'order-1'."""
    quick.instance("myserver")
    quick.environ["MAIL_PROXY_INSTANCE"] = "myserver"
    quick.ok("tenants", "add", "acme")
    quick.ok("acme", "accounts", "add", "main", "--host", "sandbox")
    quick.ok("acme", "send", "-", "--id", "order-1", stdin=EML)
    return quick


def test_a_script(shop: QuickCli) -> None:
    """Commands and Python, blocks too; comments and blank lines are passed over."""
    script = """\
# what waits
use acme
messages list --csv

import asyncio
async def doubled(x):
    await asyncio.sleep(0)

    # still within
    return 2 * x
doubled(21)
await doubled(4) + 1
for m in proxy.messages.pending():
    print(m["id"])
stats = 5
stats
_ + 1
[m for m in proxy.messages.list() if m["status"] == "pending"]
exit()
nonsense
"""
    done = shop("connect", stdin=script)
    assert (done.code, done.err) == (0, "")
    [heading, row, *rest] = done.out.splitlines()
    assert (heading.split(",")[0], row.split(",")[0]) == ("id", "order-1")
    assert rest[:5] == ["42", "9", "order-1", "5", "6"]
    assert [line.split()[0] for line in rest[5:]] == ["id", "order-1"]
    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        ("1\n\n1/0\nprint('on')", 1, "Error: line 3: ZeroDivisionError: division by zero"),
        ("messages list", 1, "Error: line 1: 'messages' is a tenant's command"),
        ("use nobody", 1, "Error: line 1: no tenant 'nobody'"),
        ("use other/acme", 1, "Error: line 1: this session is on 'myserver'"),
        ("use acme\nmesages list\nprint('on')", 1, "line 2: no command 'mesages'; did you mean 'messages'?"),
        ("use acme\nmessages show nope", 1, "Error: line 2: no message 'nope'"),
        ("use acme\nsend nofile.eml\nprint('on')", 1, "line 2: this command failed"),
        ("use acme\nsend 'a", 1, "Error: line 2: no closing quotation"),
        ("x = (\n1,\n", 1, "Error: line 1: SyntaxError"),
        ("1\nif True:\n    1/0", 1, "Error: line 3: ZeroDivisionError"),
        ("def f():\n    1/0\n\nf()", 1, "Error: line 4: ZeroDivisionError"),
        ("if True:\n    messages list", 1, "Error: line 2: SyntaxError: invalid syntax\n"),
        ("1\nreturn 1", 1, "Error: line 2: SyntaxError: 'return' outside function\n"),
        ("\ufeff1\r\nfor x in [0]:\r\n    1/x\r\n", 1, "Error: line 3: ZeroDivisionError"),
        ("connect", 1, "line 1: 'connect' is not for a session"),
        ("stop", 1, "line 1: 'stop' is not for a session"),
        (b"1\n\xff\xfe\n", 1, "not a text in UTF-8"),
        ("help nowhere", 1, "line 1: there is no 'nowhere' to explain"),
        ("new_message()", 1, "line 1: which tenant?"),
        ("import sys\nsys.exit(3)", 3, ""),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise BaseException('no')", 1, "Error: line 1: BaseException: no\n"),
        ("raise GeneratorExit", 1, "Error: line 1: GeneratorExit"),
        (f"{MUTE}raise Mute", 1, "Error: line 4: Mute: what it says cannot be told (ZeroDivisionError)\n"),
        ("exit", 0, ""),
        ("exit 4", 4, ""),
        ("exit(5)", 5, ""),
        ("exit now", 1, "line 1: exit takes no more than an exit code"),
        ("status", 1, "line 1: 'status' is not for a session: proxy.status() tells it here"),
        ("mail-proxy", 1, "line 1: which command?"),
    ],
)
def test_the_first_error_ends_a_script(shop: QuickCli, lines: str | bytes, code: int, said: str) -> None:
    """In one line, which names the script's; the exit code is 1."""
    done = shop("connect", stdin=lines)
    assert done.code == code, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert "on" not in done.out


def test_debug_shows_where(shop: QuickCli) -> None:
    done = shop("connect", "--debug", stdin="1/0")
    assert "Traceback" in done.err
    assert "ZeroDivisionError" in done.err


def test_await_takes_whatever_is_awaited(shop: QuickCli) -> None:
    """Calls of proxy, which wait by themselves, too, and within coroutines."""
    script = """\
import asyncio
[each["id"] for each in await proxy.messages.list()]
async def waiting():
    await asyncio.sleep(0)
    return (await proxy.stats())["messages"]["pending"] + proxy.stats()["messages"]["sent"]

waiting()
await asyncio.gather(waiting(), asyncio.sleep(0, 2))
await asyncio.sleep(0) or proxy.messages.get("nope")
"""
    done = shop("connect", stdin=script)
    assert (done.code, done.out.splitlines()) == (1, ["['order-1']", "1", "[1, 2]"])
    assert done.err == "Error: line 9: no message 'nope'\n"


def test_commands_are_read_as_a_shell_reads_them(shop: QuickCli) -> None:
    """Files by pattern or from one's home, a comment at the end, and the words that lead to the instance."""
    shop.environ["HOME"] = str(shop.root)
    for name in ("a 1.eml", "a 2.eml", "b.eml"):
        (shop.root / name).write_text(EML)
    script = """\
use acme
send a*.eml --batch two
send ~/b.eml --batch one  # 'this' one
send 'a*.eml'
"""
    done = shop("connect", stdin=script)
    assert done.err.splitlines()[-2:] == [
        "Error: a*.eml: No such file or directory",
        "Error: line 4: this command failed, and the script stops here",
    ]
    counted = "[len(proxy.messages.list(batch_code=each)) for each in ('one', 'two')]"
    assert shop.ok("connect", stdin=counted) == "[1, 2]\n"
    for words in ("myserver acme", "myserver --tenant acme", "acme"):
        shown = shop.ok("connect", stdin=f"mail-proxy {words} messages list --batch one --csv")
        assert len(shown.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("connect", "--token", "x"), "a token goes with --url"),
        (("connect", "--url", "http://x", "--token", "x", "--token-stdin"), "given twice"),
    ],
)
def test_wrong_usage(shop: QuickCli, words: tuple[str, ...], said: str) -> None:
    done = shop(*words)
    assert done.code == 2
    assert said in done.err


def test_without_an_instance_it_says_what_it_needs(quick: QuickCli) -> None:
    done = quick("connect")
    assert (done.code, done.out) == (2, "")
    assert "which instance?" in done.err


def test_the_context_of_the_shell_is_where_it_begins(shop: QuickCli) -> None:
    shop.environ["MAIL_PROXY_TENANT"] = "acme"
    assert shop.ok("connect", stdin="proxy.tenants.get()['id']") == "'acme'\n"


def test_help(shop: QuickCli) -> None:
    """Of the session, of a command, of what Python names; nothing that is not for users."""
    overview = shop.ok("connect", stdin="help")
    for part in ("messages", "accounts", "proxy", "new_tenant", "Ctrl+R", "use TENANT"):
        assert part in overview
    assert "Usage: mail-proxy myserver tenants" in shop.ok("connect", stdin="help tenants")
    assert "--status" in shop.ok("connect", stdin="messages list?")
    explained = shop.ok(
        "connect", stdin="proxy?\nhelp proxy.messages\nproxy.messages.errors()?\nproxy.messages.list?"
    )
    for part in (".stats()", ".messages ", ".errors()", "proxy.messages.errors(", "status=None"):
        assert part in explained
    for line in ("?proxy", "proxy??", "help('proxy')"):
        assert shop.ok("connect", stdin=line) == shop.ok("connect", stdin="proxy?")
    assert shop.ok("connect", stdin="help()") == overview
    assert "_server" not in shop.ok("connect", stdin="help(proxy)\nhelp(proxy.messages)")
    assert "Messages.errors(" in shop.ok("connect", stdin="help(proxy.messages.errors)")
    assert re.search(r"\._|self", explained) is None


def test_what_changes_meanwhile_is_seen(shop: QuickCli) -> None:
    """A new key, or a new configuration, by a command of the session itself."""
    script = (
        "rotate-key --force\nconfig set max_enqueue_batch 1\nuse acme\nproxy.accounts.get('main')['id']\n"
    )
    message = '{"to": "a@b.test", "from": "a@b.test", "body": ""}'
    done = shop("connect", stdin=f"{script}proxy.messages.add([{message}] * 2)")
    assert "'main'" in done.out
    assert "line 5: at most 1 messages" in done.err
