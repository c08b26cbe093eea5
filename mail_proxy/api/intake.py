"""Taking messages in."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from mail_proxy.api.answers import failed, ok
from mail_proxy.api.requests import ApiRequest
from mail_proxy.api.schemas import SubmissionInput
from mail_proxy.services.inputs import checked
from mail_proxy.services.views import rejection_view

ALL_INVALID = "every message was rejected: see 'rejected'"


async def add_messages(request: ApiRequest) -> Response:
    """Queue messages; those that are answered for are on disk.

    200 tells how many were queued, and which were rejected and why. 400 when there were messages and every
    one was invalid. 413 for more messages than GMP_MAX_ENQUEUE_BATCH; then, and when a tenant's token comes
    with a message of another tenant (401), nothing is queued.
    """
    given = checked(SubmissionInput, await request.body())
    if request.by_tenant:
        request.tenant(*map(_tenant_of, given.messages))
    done = await request.services.intake.submit(
        given.messages,
        asker=request.principal,
        default_priority=given.default_priority,
        record=request.record,
    )
    rejected = [rejection_view(each.id, each.reason, each.errors) for each in done.rejected]
    if done.is_all_invalid:
        return failed(400, ALL_INVALID, {"error": ALL_INVALID, "rejected": rejected})
    fields: dict[str, object] = {"queued": done.queued, "rejected": rejected}
    if done.warnings:
        fields["warnings"] = done.warnings
    return ok(fields)


def _tenant_of(entry: object) -> object:
    named = entry.get("tenant_id") if isinstance(entry, Mapping) else None
    return named if isinstance(named, str) else None  # what is no name at all is a fault of its message
