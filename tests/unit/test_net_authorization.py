"""How the guarded HTTP client says who posts."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping

import pytest

from mail_proxy.model.tenants import AuthMethod, ClientAuth
from mail_proxy.net import RequestFailed, authorization, open_client
from tests.support.application import Application


@pytest.fixture
async def app() -> AsyncIterator[Application]:
    async with Application() as application:
        yield application


class TestAuthorization:
    @pytest.mark.parametrize(
        ("auth", "header"),
        [
            (ClientAuth(), {}),
            (ClientAuth(token="left over"), {}),
            (ClientAuth(method=AuthMethod.BEARER, token="abc.-~+/="), {"Authorization": "Bearer abc.-~+/="}),
            (
                ClientAuth(method=AuthMethod.BASIC, user="joe", password="pä:ss"),
                {"Authorization": "Basic " + base64.b64encode("joe:pä:ss".encode()).decode()},
            ),
            (ClientAuth(method=AuthMethod.BASIC, user="joe"), {"Authorization": "Basic am9lOg=="}),
        ],
    )
    async def test_header_by_method(
        self, app: Application, auth: ClientAuth, header: Mapping[str, str]
    ) -> None:
        async with open_client() as client:
            await client.post_json(app.url, b"{}", trusted=True, auth=auth)
        assert app.posts[0].headers.get("authorization") == header.get("Authorization")

    @pytest.mark.parametrize(
        "auth",
        [
            ClientAuth(method=AuthMethod.BEARER),
            ClientAuth(method=AuthMethod.BEARER, token=""),
            ClientAuth(method=AuthMethod.BEARER, token="a\r\nX-Evil: 1"),
            ClientAuth(method=AuthMethod.BEARER, token="a\x00"),
            ClientAuth(method=AuthMethod.BEARER, token="tökén"),
            ClientAuth(method=AuthMethod.BASIC, password="p"),
            ClientAuth(method=AuthMethod.BASIC, user="a:b", password="p"),
            ClientAuth(method=AuthMethod.BASIC, user="a\n", password="p"),
            ClientAuth(method=AuthMethod.BASIC, user="a", password="p\x7f"),
            ClientAuth(method=AuthMethod.BASIC, user="a", password="\ud800"),
        ],
    )
    def test_what_no_header_can_carry_is_refused(self, auth: ClientAuth) -> None:
        with pytest.raises(RequestFailed, match="client_auth") as failed:
            authorization(auth)
        assert "Evil" not in str(failed.value)

    @pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\n", "a\x00b", "€"])
    async def test_no_header_can_be_injected(self, app: Application, value: str) -> None:
        async with open_client() as client:
            with pytest.raises(RequestFailed, match="a header of the request holds characters") as failed:
                await client.post_json(app.url, b"{}", trusted=True, headers={"X-One": value})
        assert "Evil" not in str(failed.value)
        assert app.posts == []
