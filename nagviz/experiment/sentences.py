"""What is wrong with a config, in words: a sentence for every error of pydantic, and the values that no key takes."""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Sequence
from datetime import date, time
from typing import Any

from pydantic_core import ErrorDetails

from nagviz.experiment.keys import Key, at
from nagviz.experiment.tables.runs import OWN
from nagviz.experiment.tables.values import FORMS, LARGEST, SMALLEST

NEVER = (  # values that TOML has and no key takes, nor JSON can say
    (lambda v: isinstance(v, date | time), "must not be a date or a time, got {}"),
    (lambda v: isinstance(v, float) and not math.isfinite(v), "must be a finite number, got {}"),
    (
        lambda v: isinstance(v, float) and LARGEST < abs(v) < math.inf,
        "must be at most 3.4e38 in size, as float32 is, got {}",
    ),
    (lambda v: isinstance(v, float) and 0 < abs(v) < SMALLEST, "must be 0 or at least 1.2e-38 in size, got {}"),
    (lambda v: isinstance(v, int) and abs(v) >= 2**63, "must fit in 64 bits"),
)

_SENTENCES = {  # by pydantic's names of errors
    "missing": "is missing{choice}",
    "extra_forbidden": "is no known key{choice}",
    "union_tag_not_found": "is missing{choice}",
    "union_tag_invalid": "must be a known kind, got {found}{choice}",
    "literal_error": "must be a known kind, got {found}{choice}",
    "int_type": "must be an integer, got {found}",
    "float_type": "must be a number, got {found}",
    "bool_type": "must be true or false, got {found}",
    "string_type": "must be a string, got {found}",
    "tuple_type": "must be an array, as [1, 2], or tables under [[NAME]], got {found}",
    "model_type": "must be a table, got {found}",
    "dict_type": "must be a table, got {found}",
    "greater_than": "must be greater than {gt:.10g}, got {found}",
    "greater_than_equal": "must be at least {ge:.10g}, got {found}",
    "less_than": "must be less than {lt:.10g}, got {found}",
    "less_than_equal": "must be at most {le:.10g}, got {found}",
    "too_short": "must have {min_length} or more entries, got {found}",
    "too_long": "must have {max_length} or fewer entries, got {found}",
    "string_too_short": "must have {min_length} or more characters, got {found}",
    "string_too_long": "must have {max_length} or fewer characters, got {found}",
    "string_pattern_mismatch": "must begin with a letter or digit, and go on with those, dashes, "
    "underscores and single dots, got {found}",
    "value_error": "{error}, got {found}",
}


def explained(schema: dict[str, Any], document: dict[str, Any], fault: ErrorDetails) -> tuple[Key, str]:
    """The key and the sentence for an error of pydantic."""
    kind, location = fault["type"], fault["loc"]
    if kind == "extra_forbidden":
        table, node = _followed(schema, location[:-1])
        key, word, allowed = (*table, location[-1]), location[-1], _keys(node, whole=not table)
    else:
        key, node = _followed(schema, location)
        key += ("kind",) if kind.startswith("union_tag") else ()
        missing_table = kind == "missing" and "discriminator" in node
        word, allowed = at(document, key), [] if missing_table else _kinds(node)
    facts = {"found": shown(at(document, key)), "choice": choice(word, allowed), "message": fault["msg"]}
    return key, _SENTENCES.get(kind, "{message}").format(**facts, **fault.get("ctx", {}))


def _followed(schema: dict[str, Any], location: Key) -> tuple[Key, dict[str, Any]]:
    """The key at a location of pydantic, which has tags of unions in it, and the schema there."""
    key: Key = ()
    node = schema
    for part in location:
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][part]}
        elif part in FORMS:
            node = {}
        else:
            key += (part,)
            node = node.get("properties", {}).get(part) or node.get("items") or {}
        for form in node.get("anyOf", ()):  # a table or nothing
            node = form if form != {"type": "null"} else node
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return key, node


def _keys(node: dict[str, Any], *, whole: bool) -> list[str]:
    """The keys of a table; in a file as a whole, those of the other form of run as well."""
    return [*node["properties"], *sorted(OWN - node["properties"].keys() if whole else ())]


def _kinds(node: dict[str, Any]) -> list[str]:
    only = [node["const"]] if "const" in node else []
    return [*node.get("discriminator", {}).get("mapping", ()), *node.get("enum", ()), *only]


def choice(word: Any, allowed: Sequence[str]) -> str:
    """What is allowed in the place of a word, and which of it may have been meant.

    Example:
        >>> choice("nga", ["nag", "adam"])
        "; did you mean 'nag'? allowed: nag, adam"
    """
    if not allowed:
        return ""
    near = difflib.get_close_matches(word, allowed, n=1) if isinstance(word, str) else []
    guess = f"; did you mean '{near[0]}'?" if near else ";"
    return f"{guess} allowed: {', '.join(allowed)}"


def shown(value: Any) -> str:
    """A value as TOML would say it, or what it is where that would be long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        short = len(value) <= 4 and not any(isinstance(item, dict | list) for item in value)
        return f"[{', '.join(map(shown, value))}]" if short else f"an array of {len(value)}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 2**63:
        return "an integer beyond 64 bits"
    return reprlib.repr(value) if isinstance(value, str) else str(value)
