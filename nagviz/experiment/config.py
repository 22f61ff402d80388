"""What a run is: a TOML file, checked key by key before anything is computed.

A file asks one question, in the comment on its first line, and is a run on data, on functions, or on both:

    # Does looking ahead help a small network?          # Who turns the corner of the valley first?
    name = "digits"                                     name = "rosenbrock"
    steps = 600                                         steps = 400
    [data]                                              [[functions]]
    kind = "digits"                                     kind = "rosenbrock"
    [model]                                             start = [-1.5, 2.0]
    kind = "mlp"                                        x = [-2.0, 2.0]
    hidden = [32]                                       y = [-1.0, 3.0]
    [training]
    batch_size = 64
    [[optimizers]]                                      [[optimizers]]
    kind = "nag"                                        kind = "nag"
    learning_rate = 0.1                                 learning_rate = 1e-3

`load` reads it and names every mistake at once, each with its line; `dump` writes a `Config` with all
its defaults back as TOML.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from nagviz.experiment.keys import DEEPEST, Key, lines, reached, shown_key, statements
from nagviz.experiment.overrides import overridden
from nagviz.experiment.relations import contradictions
from nagviz.experiment.sentences import NEVER, explained
from nagviz.experiment.tables.runs import ON_DATA, OWN, Config, DataRun, FunctionRun, Run


class ConfigError(Exception):
    """A file, or what was set on the command line, is no run; `mistakes` has a line for each."""

    def __init__(self, *mistakes: str):
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read and check a run.

    Args:
      path: a TOML file.
      overrides: texts `key.path=VALUE`, set in turn over what the file says. Lists are indexed from 0,
        a part of the key with dots in it is quoted, and VALUE is TOML or a bare word.

    Returns:
      The run, with its defaults.

    Raises:
      ConfigError: with every mistake at once, those of the file in the order of its lines, then those
        of the overrides.

    >>> run = load(Path("experiments/digits.toml"), ["optimizers.0.momentum=0.99"])
    >>> run.optimizers[0].momentum
    0.99
    """
    try:
        text = _read(path)
        written = _parsed(path, text)
    except ConfigError as error:
        _, _, refused = overridden({}, overrides)
        raise ConfigError(*error.mistakes, *refused.values()) from None
    document, origins, refused = overridden(written, overrides)
    config, wrong = _checked(document, _remarks(text))
    if config is None or refused:
        source = _Source(path, text, written, overrides, origins)
        mistakes = [_Mistake(1, i, line) for i, line in refused.items()] + _located(source, wrong)
        raise ConfigError(*(mistake.line for mistake in sorted(mistakes)))
    return config


def dump(config: Config) -> str:
    """Write a run as TOML, its question first, what is expected last, and all its defaults filled in.

    Returns:
      The text of a file from which `load` reads an equal run.

    >>> print(dump(load(Path("experiments/rosenbrock.toml"))).splitlines()[1])
    name = "rosenbrock"
    """
    import tomli_w

    question = f"# {config.question}\n" if config.question else ""
    expected = f"\n# {config.expected}\n" if config.expected else ""
    document = config.model_dump(mode="json", exclude={*_REMARKS}, exclude_none=True)
    for table in document["optimizers"]:
        if "schedule" in table:
            del table["momentum"]  # in whose place it stands
    if "projection" in document:
        del document["plane"]  # likewise
    return question + tomli_w.dumps(document) + expected


def own_code(config: Config) -> dict[str, str | None]:
    """The keys of a config that may name code of the user's own, and what they name."""
    if not isinstance(config, DataRun):
        return {}
    return {f"{key}.function": getattr(getattr(config, key), "function", None) for key in ("model", "loss")}


# The file.

_UNREADABLE = {
    FileNotFoundError: "does not exist; name a TOML file, such as those in experiments/",
    IsADirectoryError: "is a folder; name a TOML file in it",
    PermissionError: "may not be read; change its permissions",
    UnicodeDecodeError: "is not UTF-8; save it in that encoding, as TOML asks",
}


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = _UNREADABLE.get(type(error)) or f"cannot be read: {error.strerror}"
        raise ConfigError(f"{path}: {reason}") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).partition(" (at ")
        line = re.match(r"line (\d+)", place)  # or "end of document": something was left open
        number = int(line[1]) if line else _unfinished(text)
        raise ConfigError(f"{path}:{number}: is not TOML: {reason}") from None
    except (ValueError, RecursionError):
        reason = "has a number of thousands of digits, or hundreds of nested brackets"
        raise ConfigError(f"{path}:{_unfinished(text)}: {reason}") from None


def _unfinished(text: str) -> int:
    return 1 + max((last for _, last, _ in statements(text)), default=0)


def _question(text: str) -> str:
    """The comment before everything else; a line for editors, as `#:schema FILE`, may stand before it."""
    written = (line.strip() for line in text.splitlines())
    first = next((line for line in written if line and not line.startswith("#:")), "")
    return first.lstrip("#").strip() if first.startswith("#") else ""


def _expected(text: str) -> str:
    """The comment after everything else, if that is not the question."""
    last = text.rstrip().rpartition("\n")[2].strip()
    said = last.lstrip("#").strip() if last.startswith("#") else ""
    return "" if said == _question(text) else said


_REMARKS = {"question": ("first", _question), "expected": ("last", _expected)}  # on which line they stand


def _remarks(text: str) -> dict[str, str]:
    return {name: read(text) for name, (_, read) in _REMARKS.items()}


# What is wrong with it.


_NEEDED = {name for name in ON_DATA if DataRun.model_fields[name].is_required()}


def _checked(document: dict[str, Any], remarks: dict[str, str]) -> tuple[Config | None, dict[Key, str]]:
    """The run that a document describes, or what is wrong at which keys."""
    never: dict[Key, str] = {}
    plain = _plain(document, (), never)
    form = FunctionRun if "functions" in plain and not _NEEDED & plain.keys() else DataRun
    config, invalid = _validated(form, plain | remarks, document)
    wrong = {**dict(contradictions(document)), **invalid, **never}
    for name in _REMARKS.keys() & document.keys():
        wrong[name,] = f"is the comment on the {_REMARKS[name][0]} line, not a key"
    if form is FunctionRun:
        needed = ", ".join(sorted(_NEEDED))
        wrong |= {
            (key,): f"is of a run on data, which has {needed}; leave it out, or give these"
            for key in ON_DATA & plain.keys()
        }
    if not OWN & plain.keys():
        wrong = {key: reason for key, reason in wrong.items() if key[0] not in OWN}
        choice = "a run has functions, or data with a model and training, or both"
        wrong["data",] = f"is missing, and so are functions: {choice}"
    return (None if wrong else config), wrong


def _plain(value: Any, key: Key, never: dict[Key, str]) -> Any:
    """A copy that JSON can say; what it cannot is noted in `never`, and left empty."""
    if len(key) > DEEPEST:
        never[key] = "is nested too deeply"
    elif isinstance(value, dict):
        return {part: _plain(item, (*key, part), never) for part, item in value.items()}
    elif isinstance(value, list):
        return [_plain(item, (*key, i), never) for i, item in enumerate(value)]
    else:
        for refuses, reason in NEVER:
            if refuses(value):
                never[key] = reason.format(value)
    return None if key in never else value


def _validated(
    form: type[Run], table: dict[str, Any], document: dict[str, Any]
) -> tuple[Config | None, dict[Key, str]]:
    try:
        return form.model_validate_json(json.dumps(table)), {}
    except ValidationError as error:
        schema = form.model_json_schema()
        return None, dict(
            explained(schema, document, fault)
            for fault in error.errors(include_url=False)
            # pydantic counts the entries that are right, and blames the rest twice
            if fault["type"] != "too_short" or not fault["input"]
        )


# Where it stands.


class _Source(NamedTuple):
    """What a run was read from."""

    path: Path
    text: str
    written: dict[str, Any]  # what the text says
    overrides: Sequence[str]
    origins: dict[Key, int]  # which override set what


class _Mistake(NamedTuple):
    """A line of a `ConfigError`, sorted as the user reads."""

    group: int  # 0 in the file, 1 on the command line
    place: int  # line of the file, or index of the override
    line: str


def _located(source: _Source, wrong: dict[Key, str]) -> list[_Mistake]:
    at_line = lines(source.text, source.written, wrong)
    mistakes = []
    for key, reason in wrong.items():
        parents = (key[:n] for n in range(len(key), 0, -1))
        origin = next((source.origins[k] for k in parents if k in source.origins), None)
        what = f"{shown_key(key)}: {reason}"
        if origin is None:
            line = at_line[reached(source.written, key)]
            mistakes.append(_Mistake(0, line, f"{source.path}:{line}: {what}"))
        else:
            mistakes.append(_Mistake(1, origin, f"--set {source.overrides[origin]}: {what}"))
    return mistakes
