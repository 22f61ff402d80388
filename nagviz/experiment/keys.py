"""The keys of a TOML document: what they reach, and in which line of the file they stand."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

Key = tuple[str | int, ...]  # ("optimizers", 0, "momentum")
DEEPEST = 8  # parts of a key; the longest that means anything has four


def reached(tree: Any, key: Key) -> Key:
    """The longest part of the key that exists in the tree."""
    for n, part in enumerate(key):
        there = range(len(tree)) if isinstance(tree, list) else tree
        if not isinstance(tree, dict | list) or part not in there:
            return key[:n]
        tree = tree[part]
    return key


def at(tree: Any, key: Key) -> Any:
    """The value at a key, None where there is none."""
    if reached(tree, key) != key:
        return None
    for part in key:
        tree = tree[part]
    return tree


def shown_key(key: Key) -> str:
    """A key as TOML writes it.

    Example:
        >>> shown_key(("functions", 0, "learning_rates", "heavy ball"))
        'functions.0.learning_rates."heavy ball"'
    """
    bare = re.compile(r"[A-Za-z0-9_-]+")
    return ".".join(p if bare.fullmatch(p) else json.dumps(p) for p in map(str, key))


def statements(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The first and last line of each statement, and what the file says up to there.

    tomllib keeps no lines. But a statement is finished at the first line up to which the file can be
    parsed, and what follows begins the next.
    """
    rows = text.split("\n")
    first = 1
    for last in range(1, len(rows) + 1):
        try:
            document = tomllib.loads("\n".join(rows[:last]) + "\n")
        except (ValueError, RecursionError):
            continue
        yield first, last, document
        first = last + 1


def lines(text: str, written: dict[str, Any], keys: Iterable[Key]) -> dict[Key, int]:
    """The first line of the statement that brings in each key, or the table it is missing from.

    Args:
        text: of the file.
        written: what it says as a whole.
        keys: what is looked for.
    """
    found: dict[Key, int] = {(): 1}
    wanted = {reached(written, key) for key in keys}
    for first, _, document in statements(text):
        for key in wanted - found.keys():
            if reached(document, key) == key:
                found[key] = first
    return found
