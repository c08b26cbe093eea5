"""The tree of errors: as it is drawn, each with a code of its own, each translated at both edges."""

from __future__ import annotations

import re

import pytest

from mail_proxy import errors
from mail_proxy.api.errors import TRANSLATIONS
from mail_proxy.errors import Fault, InvalidInput, MailProxyError, NotFound, StartFailed
from mail_proxy_cli.errors import EXIT_CODES


def descendants(kind: type[MailProxyError]) -> list[type[MailProxyError]]:
    """The classes of the module below `kind`, each before its own."""
    found = []
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            found += [child, *descendants(child)]
    return found


ALL = descendants(MailProxyError)


def drawn() -> list[tuple[int, str]]:
    """The tree of the module's docstring: each name with its depth."""
    lines = re.findall(r"^    ([│├└─ ]*)(\w+)", errors.__doc__ or "", re.MULTILINE)
    return [(len(lead) // 4, name) for lead, name in lines]


def test_the_tree_is_drawn_as_it_is() -> None:
    """Every class in its place, none left out, none that is not there."""
    tree = drawn()

    assert tree[0] == (0, "MailProxyError")
    assert {name for _, name in tree[1:]} == {kind.__name__ for kind in ALL}
    parents: list[str] = []
    for depth, name in tree:
        del parents[depth:]
        if parents:
            assert parents[-1] in [base.__name__ for base in getattr(errors, name).__bases__]
        parents.append(name)


def test_every_error_has_a_code_of_its_own() -> None:
    """Stable words for programs."""
    codes = [MailProxyError.code, *(kind.code for kind in ALL)]

    assert len(set(codes)) == len(codes)
    assert [code for code in codes if not re.fullmatch(r"[a-z_]+", code)] == []


def test_every_error_has_an_http_status_and_an_exit_code() -> None:
    """A class that is added must be decided on at both edges."""
    assert [kind.__name__ for kind in ALL if kind not in TRANSLATIONS] == []
    assert [kind.__name__ for kind in ALL if kind not in EXIT_CODES] == []


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (errors.InvalidInput, 422, 2),
        (errors.Unauthorized, 401, 1),
        (errors.Forbidden, 403, 1),
        (errors.Conflict, 409, 1),
        (errors.TooLarge, 413, 1),
        (errors.DatabaseUnavailable, 503, 1),
        (errors.InvalidConfig, 422, 2),
    ],
)
def test_the_contracts_translations(kind: type[MailProxyError], status: int, code: int) -> None:
    """HTTP status (http-api.md, Errors) and exit code (cli.md, Output)."""
    assert (TRANSLATIONS[kind].status, EXIT_CODES[kind]) == (status, code)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(("to", 0), "is no address"), "to.0: is no address"),
        (Fault((), "must be an object"), "must be an object"),
    ],
)
def test_a_fault_names_its_field(fault: Fault, text: str) -> None:
    """With the way to it."""
    assert str(fault) == text


def test_invalid_input_tells_all_faults() -> None:
    """In one line, and one by one."""
    faults = [Fault(("a",), "is required", "missing"), Fault(("b", 1), "is wrong")]
    error = InvalidInput.of(faults)

    assert str(error) == "a: is required; b.1: is wrong"
    assert error.faults == tuple(faults)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("near", "text"),
    [
        ((), "no tenant 'acne'"),
        (("acme",), "no tenant 'acne'; did you mean 'acme'?"),
        (("acme", "acre"), "no tenant 'acne'; did you mean 'acme' or 'acre'?"),
    ],
)
def test_not_found_names_what_is_near(near: tuple[str, ...], text: str) -> None:
    """So that a typing error is seen."""
    error = NotFound("tenant", "acne", near)

    assert str(error) == text
    assert (error.kind, error.name, error.near) == ("tenant", "acne", near)
    assert isinstance(error, LookupError)


def test_a_failed_start_keeps_the_last_words_of_the_log() -> None:
    """For whoever shows them."""
    assert StartFailed("no", "boom").log_tail == "boom"
