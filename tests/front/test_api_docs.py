"""The page that shows the description to people: whole, and without a byte from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import pytest

from mail_proxy.api.app import ENDPOINTS
from mail_proxy.api.openapi_document import describe
from mail_proxy.api.openapi_page import render
from tests.support.api import Answer, Api, open_api


class Tags(HTMLParser):
    """Collects the attributes of all tags, and the text of each style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str]] = []
        self.embedded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is not None:
            self.embedded.append(data)

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.attributes if each == name]


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    async with open_api(sqlite_url) as api:
        yield api


@pytest.fixture
async def page(api: Api) -> Answer:
    return await api.get("/docs", token=None)


@pytest.fixture
def tags(page: Answer) -> Tags:
    return Tags(page.text)


async def test_anybody_may_see_it(page: Answer) -> None:
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.text.startswith("<!doctype html>")


async def test_it_fetches_nothing(page: Answer, tags: Tags) -> None:
    assert tags.values("src") == []
    assert {link for link in tags.values("href") if not link.startswith("#")} == {"openapi.json", "data:,"}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|//\w", "".join(tags.embedded))


async def test_its_policy_allows_its_own_style_and_script_and_nothing_else(page: Answer, tags: Tags) -> None:
    policy = page.headers["content-security-policy"]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in tags.embedded]
    assert len(digests) == 2
    assert re.findall(r"'sha256-([^']+)'", policy) == digests
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert [name for name, _ in tags.attributes if name == "style" or name.startswith("on")] == []


async def test_every_anchor_is_there_once_and_every_link_leads_to_one(tags: Tags) -> None:
    anchors = Counter(tags.values("id"))
    assert {link[1:] for link in tags.values("href") if link.startswith("#")} <= set(anchors)
    assert set(anchors.values()) == {1}


async def test_every_endpoint_is_shown_with_its_level_and_a_command_to_try(page: Answer) -> None:
    for endpoint in ENDPOINTS:
        pattern = (
            rf">{endpoint.method}</b> <code>{re.escape(endpoint.path)}</code>.*?>{endpoint.level}</small>"
        )
        article = re.search(rf"{pattern}.*?</article>", page.text, re.DOTALL)
        assert article is not None, endpoint.name
        assert "curl" in article[0], endpoint.name


async def test_what_the_description_says_is_shown_as_text() -> None:
    document = describe(ENDPOINTS)
    document["info"]["description"] = "<script>alert(1)</script> & `<b>`"
    shown = render(document).content.decode()
    assert "<p>&lt;script&gt;alert(1)&lt;/script&gt; &amp; <code>&lt;b&gt;</code></p>" in shown
