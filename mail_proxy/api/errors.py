"""The one place where failures become HTTP answers (contract: http-api.md, Errors)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mail_proxy import errors
from mail_proxy.api.answers import failed
from mail_proxy.errors import Fault, InvalidInput, TooManyAttempts
from mail_proxy.services.views import faults_view

logger = logging.getLogger(__name__)

RETRY_AFTER = 5
"""Seconds after which to ask again when the database is away."""


@dataclass(frozen=True, slots=True)
class Translation:
    """How a class of errors is answered.

    `text` stands in for the error's own words where these tell of this machine: they go to the log.
    """

    status: int
    text: str | None = None
    headers: Mapping[str, str] | None = None


_LATER = {"Retry-After": str(RETRY_AFTER)}
_UNAVAILABLE = Translation(503, "the database is not available: try again later", _LATER)
_UNUSABLE = Translation(503, "the database cannot be used: the log of the server says why", _LATER)
_INSTANCE = Translation(503, "the server is not in order: its log says why")

TRANSLATIONS: Mapping[type[Exception], Translation] = {
    errors.InvalidInput: Translation(422),
    errors.InvalidConfig: Translation(422),
    errors.Unauthorized: Translation(401, headers={"WWW-Authenticate": 'ApiKey header="X-API-Token"'}),
    errors.TooManyAttempts: Translation(429),
    errors.Forbidden: Translation(403),
    errors.NotFound: Translation(404),
    errors.Conflict: Translation(409),
    errors.TooLarge: Translation(413),
    errors.DatabaseError: _UNUSABLE,
    errors.DatabaseUnavailable: _UNAVAILABLE,
    errors.DatabaseUnusable: _UNUSABLE,
    errors.KeyMismatch: Translation(503, "this server has no key that fits to keep or read a secret"),
    errors.InstanceError: _INSTANCE,
    errors.AlreadyRunning: _INSTANCE,
    errors.NotRunning: _INSTANCE,
    errors.StartFailed: _INSTANCE,
}

CLIENT_CLOSED_REQUEST = 499
"""Never seen by anybody: the client has gone. The number is nginx's, for logs."""


def answer_to(error: Exception, request: Request) -> Response:
    """Translate whatever a request ran into.

    What nobody foresaw is logged with an id, and the id is all that the answer tells of it.
    """
    translation = TRANSLATIONS.get(type(error))
    if translation is not None:
        return _foreseen(error, translation)
    if isinstance(error, HTTPException):
        return _of_starlette(error)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return _unforeseen(error, request)


def _foreseen(error: Exception, translation: Translation) -> Response:
    text = str(error)
    if translation.text is not None:
        logger.warning("refused a request: %s", text)
        text = translation.text
    detail = None
    if isinstance(error, InvalidInput):
        detail = faults_view(error.faults or [Fault((), text)])
    headers = dict(translation.headers or {})
    if isinstance(error, TooManyAttempts):
        headers["Retry-After"] = str(error.retry_after)
    return failed(translation.status, text, detail, headers)


def _of_starlette(error: HTTPException) -> Response:
    is_bare = error.detail == HTTPStatus(error.status_code).phrase
    text = "there is no such endpoint" if is_bare and error.status_code == 404 else error.detail
    return failed(error.status_code, text, headers=error.headers)


def _unforeseen(error: Exception, request: Request) -> Response:
    error_id = secrets.token_hex(8)
    logger.error(
        "unexpected error %s in %s %s", error_id, request.method, request.scope["path"], exc_info=error
    )
    return failed(500, f"internal error {error_id}: the log of the server says more", {"id": error_id})
