"""Methods that are written once and are there twice: at once, and to be awaited.

A method of a `Resource` builds a `Request`. Its decorator makes of that a method which sends it by the
resource's sender: with `Sender` it returns what the request reads, with `AsyncSender` a coroutine of it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from mail_proxy.client.requests import Page, Request
from mail_proxy.client.sending import AsyncSender, Sender

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=Sender | AsyncSender)


class Resource(Generic[S]):
    """A part of the API; `tenant_id` is meant where a call names none."""

    def __init__(self, sender: S, tenant_id: str | None) -> None:
        self.sender = sender
        self.tenant_id = tenant_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sender.target.url!r})"

    def tenant(self, named: str | None) -> str | None:
        return self.tenant_id if named is None else named


class Call(Generic[P, T]):
    """A request with one answer."""

    def __init__(self, build: Callable[Concatenate[Any, P], Request[T]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Sender], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, resource: Resource[AsyncSender], owner: type
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> object:
        return self if resource is None else _bound(self.build, resource, resource.sender.send)


class Pages(Generic[P, T]):
    """A list that comes in pages, each fetched when it is needed."""

    def __init__(self, build: Callable[Concatenate[Any, P], Request[Page[T]]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Sender], owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, resource: Resource[AsyncSender], owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> object:
        return self if resource is None else _bound(self.build, resource, resource.sender.pages)


class Lines(Generic[P, T]):
    """A long answer that comes line by line."""

    def __init__(self, build: Callable[Concatenate[Any, P], Request[T]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Sender], owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, resource: Resource[AsyncSender], owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> object:
        return self if resource is None else _bound(self.build, resource, resource.sender.lines)


def _bound(
    build: Callable[..., Request[Any]], resource: Resource[Any], send: Callable[[Request[Any]], object]
) -> Callable[..., object]:
    """Make the method that a caller sees: it has the name, the arguments and the docstring of `build`."""
    bound = MethodType(build, resource)
    return functools.wraps(bound)(lambda *args, **kwargs: send(bound(*args, **kwargs)))
