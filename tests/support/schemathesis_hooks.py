"""What schemathesis cannot know: how to make values of our formats, and where the contract is against it.

Loaded by schemathesis itself (SCHEMATHESIS_HOOKS), in its own process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response

from mail_proxy.model.messages import Place
from mail_proxy.services.cursors import cursor_of

FORMATS: dict[str, st.SearchStrategy[str]] = {
    "mailbox": st.sampled_from(
        ["ann@example.net", "Ann <ann@example.net>", '"Ann, B." <ann.b+c@example.org>']
    ),
    "mailboxes": st.sampled_from(["ann@example.net", "ann@example.net, Bob <bob@example.net>"]),
    "return-path": st.sampled_from(["bounces@example.net", "bounces+{token}@example.net"]),
    "base-url": st.sampled_from(["https://shop.example.com", "http://shop.example.com:8080/app"]),
    "path": st.sampled_from(["/", "/mail-proxy/sync", "/a/b?c=d"]),
    "pem": st.just("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
    "service-account-key": st.just('{"client_email": "a@b.example", "private_key": "-"}'),
    "cursor": st.builds(Place, st.floats(0, 4e9), st.integers(0, 2**40)).map(cursor_of),
    "date-time": st.integers(0, 250_000_000_000).map(
        lambda each: datetime.fromtimestamp(each, UTC).isoformat()
    ),
}

for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    """A finding of schemathesis that is none, because of `reason`.

    `said` is in the answer's error, `asked` in the query; `operation` is a method and a path, none for all.
    """

    finding: str
    status: int
    reason: str
    operation: str | None = None
    said: str = ""
    asked: str | None = None

    def covers(self, failure: Failure, case: Case[Any], response: Response) -> bool:
        return (
            type(failure).__name__ == self.finding
            and response.status_code == self.status
            and self.operation in (None, case.operation.label)
            and self.said in _error_of(response)
            and (self.asked is None or self.asked in case.query)
        )


_REJECTED, _ACCEPTED = "RejectedPositiveData", "AcceptedNegativeData"
_ADD = "POST /commands/add-messages"

EXEMPTIONS = (
    Exemption(
        finding=_REJECTED,
        operation=_ADD,
        status=400,
        reason="every message was invalid: its account is not known, say, and no schema knows accounts",
    ),
    Exemption(
        finding=_ACCEPTED,
        operation=_ADD,
        status=200,
        reason="valid messages of a batch are queued whatever the others are; these are under `rejected`",
    ),
    Exemption(
        finding="EnsureResourceAvailability",
        operation=_ADD,
        status=404,
        reason="a message that was rejected is not there, though the answer for its batch was 200",
    ),
    Exemption(
        finding="EnsureResourceAvailability",
        status=404,
        asked="tenant_id",
        reason="what one tenant has just got is not there for another, which the query names",
    ),
    Exemption(
        finding=_REJECTED,
        status=422,
        said="is not the same in the query and in the body",
        reason="OpenAPI cannot say that two places must name one tenant",
    ),
    Exemption(
        finding=_REJECTED,
        status=422,
        said="id: cannot be changed",
        reason="OpenAPI cannot say that the body names what the path does",
    ),
    Exemption(
        finding=_REJECTED,
        status=422,
        said="must be given again when",
        reason="security.md, Repointing: it depends on what is stored",
    ),
    Exemption(
        finding=_REJECTED,
        status=422,
        said="stands for the stored secret, and there is none",
        reason="http-api.md: `***` leaves a secret as it is: it depends on what is stored",
    ),
    Exemption(
        finding=_REJECTED,
        status=422,
        said="there is no API key that could expire",
        reason="it depends on what is stored",
    ),
    Exemption(
        finding=_REJECTED,
        status=422,
        said="tenant_id: is required",
        reason="http-api.md: 422 for the admin's token alone, and one description is for both levels",
    ),
    Exemption(
        finding=_REJECTED,
        status=422,
        said=": is required while bounce_enabled is true",
        reason="it depends on what is stored",
    ),
    *(
        Exemption(
            finding=_REJECTED,
            operation="POST /storage",
            status=422,
            said=f"config.{name}: is required",
            reason="security.md: a tenant must give keys, the admin need not; one description is for both",
        )
        for name in ("access_key_id", "secret_access_key", "service_account_key", "account_key")
    ),
    Exemption(
        finding=_REJECTED,
        status=422,
        said="cursor: is not one that an earlier answer gave",
        reason="what a cursor holds is nobody's business, so no pattern tells",
    ),
    Exemption(
        finding=_REJECTED,
        status=422,
        said="is not an e-mail address",
        reason="no pattern can say what RFC 5322 and IDNA take for an address",
    ),
)


TENANT = "acme"
THERE = {"messages": "order-1", "account": "main", "tenant": TENANT}
"""What the test has put there, by the first part of a path."""


@schemathesis.hook
def filter_case(context: HookContext, case: Case[Any]) -> bool:
    """Leave what is there: most of what follows would only tell that it is gone."""
    return not (case.method == "DELETE" and case.path_parameters.get("id") in ("default", *THERE.values()))


@schemathesis.hook
def map_case(context: HookContext, case: Case[Any]) -> Case[Any]:
    """Aim valid requests at what is there, mostly, and let their bodies name what path and query do."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    body = case.body if isinstance(case.body, dict) else {}
    is_chained = case.meta.phase.name == "stateful"
    for place in (case.query, body, *_messages(body)) if is_chained else _messages(body):
        known = {"tenant_id": TENANT, "account_id": THERE["account"]}
        place |= {name: value for name, value in known.items() if isinstance(place.get(name), str)}
    if case.meta.phase.name == "fuzzing":
        _aim(case)
    named = {"id": case.path_parameters.get("id"), "tenant_id": case.query.get("tenant_id")}
    body |= {name: value for name, value in named.items() if name in body and value is not None}
    return case


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in body.get("messages", ()) if isinstance(each, dict)]


def _aim(case: Case[Any]) -> None:
    """Let every other request be about what the test has put there; deletions stay as they are."""
    first = case.path.split("/")[1]
    if case.method != "DELETE" and first in THERE and len(case.path_parameters.get("id", "")) % 2:
        case.path_parameters["id"] = THERE[first]
        case.query.pop("tenant_id", None)


@schemathesis.deserializer("text/html", "application/x-ndjson", "application/octet-stream")
def read(context: object, response: Response) -> str:
    """Take for text what is none of JSON."""
    return response.content.decode()


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Drop what is exempt."""
    return not any(each.covers(failure, case, response) for each in EXEMPTIONS)


def _error_of(response: Response) -> str:
    try:
        answer: Any = json.loads(response.content)
    except ValueError:
        return ""
    return str(answer.get("error", "")) if isinstance(answer, dict) else ""
