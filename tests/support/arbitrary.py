"""Whatever may come over the wire: texts and JSON values of every kind, for hypothesis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

any_character = st.characters() | st.characters(categories=["Cs", "Cc", "Cf", "Mn", "Zs", "So", "Co"])
"""Every code point, lone surrogates too; the categories that break programs are as frequent as all others."""

SPICE = (
    "\0", "\r\n", "\n", "\x85", "\u2028", "\ufeff", "\u202e", "e\u0301", "👩\u200d👩\u200d👧", "\U0010ffff",
    "=?", "?=", "=?utf-8?q?=41?=", "  ", "\u3000", '"', "\\", ",", ";", ":", "(", ")", "<", ">", "@", "%",
    "..", "x" * 80, "東" * 80, "{token}", "None", "\r\n.\r\n",
)  # fmt: skip
"""What some reader or writer on the way takes for something else than text."""


def as_json(text: str) -> str:
    """The text as whoever reads it out of JSON gets it: two halves of a surrogate pair become one."""
    value: str = json.loads(json.dumps(text))
    return value


any_text = (
    st.text(any_character, max_size=40)
    | st.lists(st.sampled_from(SPICE) | any_character, max_size=8).map("".join)
    | st.integers(0, 2000).map("é".__mul__)
).map(as_json)

legal_text = (
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=80)
    | st.lists(st.sampled_from(SPICE), max_size=8).map("".join)
).filter(lambda text: not any(char in text for char in "\0\r\n\x85\u2028\u2029"))
"""What a header field may hold."""

finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = (
    st.integers()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 2**64, 10**300, 10**4000, 253402300800])
    | finite
    | st.sampled_from([1e308, -1e308, 5e-324, -0.0, 1.5])
)
scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | numbers | any_text
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def almost(draw: st.DrawFn, body: Mapping[str, Any]) -> Any:
    """A valid body in which one place, at whatever depth, is replaced, added or taken out."""
    changed: Any = json.loads(json.dumps(body))
    place: Any = changed
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.booleans()):
            break
        place = place[key]
    match draw(st.sampled_from(["replace", "replace", "add", "remove"])):
        case "replace":
            place[key] = draw(json_values)
        case "add" if isinstance(place, dict):
            place[draw(any_text)] = draw(json_values)
        case "add":
            place.append(draw(json_values))
        case _:
            del place[key]
    return changed
