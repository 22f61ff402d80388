"""What the command line sets over a file: texts `key.path=VALUE`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

from nagviz.experiment.keys import DEEPEST, Key, reached, shown_key
from nagviz.experiment.sentences import shown

_PART = r"""(?:"[^"]+"|'[^']+'|[^\s."'=](?:[^."'=]*[^\s."'=])?)"""
_SETTING = re.compile(rf"\s*({_PART}(?:\.{_PART})*)\s*=(.*)", re.DOTALL)
_BARE_WORD = re.compile(r"\w[\w .+-]*")


def overridden(
    document: dict[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, Any], dict[Key, int], dict[int, str]]:
    """The document with the overrides in it, which of them set what, and those that cannot be set."""
    origins: dict[Key, int] = {}
    refused = {}
    for i, text in enumerate(overrides):
        try:
            parts, value = _setting(text)
            key = _key(document, parts)
        except ValueError as error:
            refused[i] = f"--set {text}: {error}"
            continue
        origins = {k: j for k, j in origins.items() if k[: len(key)] != key}
        origins[key[: len(reached(document, key)) + 1]] = i  # tables made on the way are its own
        document = _with(document, key, value)
    return document, origins, refused


def _setting(text: str) -> tuple[list[str], Any]:
    match = _SETTING.fullmatch(text)
    if not match or re.search("[\ud800-\udfff]", text):  # bytes that were no UTF-8
        raise ValueError("must be KEY=VALUE, as in optimizers.0.momentum=0.99")
    parts = [part.strip("\"'") for part in re.findall(_PART, match[1])]
    if len(parts) > DEEPEST:
        raise ValueError(f"{match[1]}: has more than {DEEPEST} parts")
    return parts, _value(match[1], match[2].strip())


def _value(key: str, text: str) -> Any:
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
    except (ValueError, RecursionError):
        if _BARE_WORD.fullmatch(text):
            return text
        quoted = f", as {key}='\"{text}\"' would be" if re.fullmatch(r"[^\s\"'\[\]{}=,]+", text) else ""
        raise ValueError(f'{key}: must be set to one value of TOML, as 7, "text" or [1, 2]{quoted}') from None
    return value


def _key(tree: Any, parts: list[str]) -> Key:
    """Parts of a key, those that index lists as integers."""
    key: Key = ()
    for part in parts:
        if isinstance(tree, list):
            key += (_index(shown_key(key), part, len(tree)),)
            tree = tree[key[-1]]
        elif isinstance(tree, dict):
            key += (part,)
            tree = tree.get(part, {})
        else:
            raise ValueError(f"{shown_key(key)}: is {shown(tree)}, which has no {part!r} in it")
    return key


def _index(key: str, part: str, length: int) -> int:
    if not (part.isascii() and part.isdigit()):
        raise ValueError(f"{key}.{part}: an array is indexed by 0, 1, ..., not by {part!r}")
    if len(part) > 9 or int(part) >= length:
        raise ValueError(f"{key}.{part}: {key} has {length} entries, counted from 0")
    return int(part)


def _with(tree: Any, key: Key, value: Any) -> Any:
    """A copy of the tree, with the value at the key."""
    if not key:
        return value
    if isinstance(tree, list):
        return [_with(item, key[1:], value) if i == key[0] else item for i, item in enumerate(tree)]
    return tree | {key[0]: _with(tree.get(key[0], {}), key[1:], value)}
