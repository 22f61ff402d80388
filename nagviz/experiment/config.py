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

import difflib
import json
import math
import re
import reprlib
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from nagviz.experiment.tables.functions import TestFunction
from nagviz.experiment.tables.optimizers import Member, Method, Optimizer, Solo
from nagviz.experiment.tables.runs import Config, DataRun, FunctionRun, Run
from nagviz.experiment.tables.values import FORMS, LARGEST, SMALLEST

Key = tuple[str | int, ...]  # ("optimizers", 0, "momentum")


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
        _, _, refused = _overridden({}, overrides)
        raise ConfigError(*error.mistakes, *refused.values()) from None
    document, origins, refused = _overridden(written, overrides)
    config, wrong = _checked(document, _question(text))
    if config is None or refused:
        source = _Source(path, text, written, overrides, origins)
        mistakes = [_Mistake(1, i, line) for i, line in refused.items()] + _located(source, wrong)
        raise ConfigError(*(mistake.line for mistake in sorted(mistakes)))
    return config


def dump(config: Config) -> str:
    """Write a run as TOML, its question first and all its defaults filled in.

    Returns:
      The text of a file from which `load` reads an equal run.

    >>> print(dump(load(Path("experiments/rosenbrock.toml"))).splitlines()[1])
    name = "rosenbrock"
    """
    import tomli_w

    question = f"# {config.question}\n" if config.question else ""
    document = config.model_dump(mode="json", exclude={"question"}, exclude_none=True)
    for table in document["optimizers"]:
        if "schedule" in table:
            del table["momentum"]  # in whose place it stands
    return question + tomli_w.dumps(document)


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


def _statements(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The first and last line of each statement, and what the file says up to there.

    tomllib keeps no lines. But a statement is finished at the first line up to which the file can be
    parsed, and what follows begins the next.
    """
    lines = text.split("\n")
    first = 1
    for last in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:last]) + "\n")
        except (ValueError, RecursionError):
            continue
        yield first, last, document
        first = last + 1


def _unfinished(text: str) -> int:
    return 1 + max((last for _, last, _ in _statements(text)), default=0)


def _question(text: str) -> str:
    """The comment before everything else; a line for editors, as `#:schema FILE`, may stand before it."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("#:")), "")
    return first.lstrip("#").strip() if first.startswith("#") else ""


# What the command line sets over it.

_PART = r"""(?:"[^"]+"|'[^']+'|[^\s."'=](?:[^."'=]*[^\s."'=])?)"""
_SETTING = re.compile(rf"\s*({_PART}(?:\.{_PART})*)\s*=(.*)", re.DOTALL)
_BARE_WORD = re.compile(r"\w[\w .+-]*")
_DEEPEST = 8  # parts of a key; the longest that means anything has four


def _overridden(
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
        origins[key[: len(_reached(document, key)) + 1]] = i  # tables made on the way are its own
        document = _with(document, key, value)
    return document, origins, refused


def _setting(text: str) -> tuple[list[str], Any]:
    match = _SETTING.fullmatch(text)
    if not match or re.search("[\ud800-\udfff]", text):  # bytes that were no UTF-8
        raise ValueError("must be KEY=VALUE, as in optimizers.0.momentum=0.99")
    parts = [part.strip("\"'") for part in re.findall(_PART, match[1])]
    if len(parts) > _DEEPEST:
        raise ValueError(f"{match[1]}: has more than {_DEEPEST} parts")
    return parts, _value(match[1], match[2].strip())


def _value(key: str, text: str) -> Any:
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
    except (ValueError, RecursionError):
        if _BARE_WORD.fullmatch(text):
            return text
        raise ValueError(f'{key}: must be set to one value of TOML, as 7, "text" or [1, 2]') from None
    return value


def _key(tree: Any, parts: list[str]) -> Key:
    """Parts of a key, those that index lists as integers."""
    key: Key = ()
    for part in parts:
        if isinstance(tree, list):
            key += (_index(_shown_key(key), part, len(tree)),)
            tree = tree[key[-1]]
        elif isinstance(tree, dict):
            key += (part,)
            tree = tree.get(part, {})
        else:
            raise ValueError(f"{_shown_key(key)}: is {_shown(tree)}, which has no {part!r} in it")
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


# What is wrong with it.

_NEVER = (  # values that TOML has and no key takes, nor JSON can say
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


_ON_DATA = DataRun.model_fields.keys() - Run.model_fields.keys() - {"functions"}
_OWN = _ON_DATA | {"functions"}  # the keys that tell the forms of run apart


def _checked(document: dict[str, Any], question: str) -> tuple[Config | None, dict[Key, str]]:
    """The run that a document describes, or what is wrong at which keys."""
    never: dict[Key, str] = {}
    plain = _plain(document, (), never)
    form = FunctionRun if "functions" in plain and not _ON_DATA & plain.keys() else DataRun
    config, invalid = _validated(form, plain | {"question": question}, document)
    wrong = {**dict(_relations(document)), **invalid, **never}
    if "question" in document:
        wrong["question",] = "is the comment on the first line, not a key"
    if not _OWN & plain.keys():
        wrong = {key: reason for key, reason in wrong.items() if key[0] not in _OWN}
        choice = "a run has functions, or data with a model and training, or both"
        wrong["data",] = f"is missing, and so are functions: {choice}"
    return (None if wrong else config), wrong


def _plain(value: Any, key: Key, never: dict[Key, str]) -> Any:
    """A copy that JSON can say; what it cannot is noted in `never`, and left empty."""
    if len(key) > _DEEPEST:
        never[key] = "is nested too deeply"
    elif isinstance(value, dict):
        return {part: _plain(item, (*key, part), never) for part, item in value.items()}
    elif isinstance(value, list):
        return [_plain(item, (*key, i), never) for i, item in enumerate(value)]
    else:
        for refuses, reason in _NEVER:
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
            _explained(schema, document, fault)
            for fault in error.errors(include_url=False)
            # pydantic counts the entries that are right, and blames the rest twice
            if fault["type"] != "too_short" or not fault["input"]
        )


def _explained(schema: dict[str, Any], document: dict[str, Any], fault: ErrorDetails) -> tuple[Key, str]:
    """The key and the sentence for an error of pydantic."""
    kind, location = fault["type"], fault["loc"]
    if kind == "extra_forbidden":
        table, node = _followed(schema, location[:-1])
        key, word, allowed = (*table, location[-1]), location[-1], _keys(node, whole=not table)
    else:
        key, node = _followed(schema, location)
        key += ("kind",) if kind.startswith("union_tag") else ()
        missing_table = kind == "missing" and "discriminator" in node
        word, allowed = _at(document, key), [] if missing_table else _kinds(node)
    facts = {"found": _shown(_at(document, key)), "choice": _choice(word, allowed), "message": fault["msg"]}
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
    return [*node["properties"], *sorted(_OWN - node["properties"].keys() if whole else ())]


def _kinds(node: dict[str, Any]) -> list[str]:
    only = [node["const"]] if "const" in node else []
    return [*node.get("discriminator", {}).get("mapping", ()), *node.get("enum", ()), *only]


# What its keys promise one another.


def _relations(document: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """Mistakes between keys, as far as what is right of them tells."""
    names = _names(document, "optimizers", Optimizer)
    yield from _divisions(document)
    yield from _repetitions("optimizers", names)
    functions = _names(document, "functions", TestFunction)
    yield from _repetitions("functions", functions)
    data = document.get("data")
    for i, name in enumerate(functions if isinstance(data, dict) else ()):
        if name is not None and name == data.get("kind"):
            yield ("functions", i, "name"), f"is that of the data, too, got {_shown(name)}; give it a name of its own"
    yield from _unknown_to_a_problem(document, names)
    yield from _grids(document, names)
    yield from _seeds(document)
    yield from _standpoint(document, names)
    for i, table in enumerate(_tables(document, "optimizers")):
        for key, reason in _parts(document, table):
            yield ("optimizers", i, *key), reason
    for i, table in enumerate(_tables(document, "optimizers")):
        if "schedule" in table and "momentum" in table:
            yield ("optimizers", i, "schedule"), "stands in the place of momentum; leave one of them out"
    for i, table in enumerate(_tables(document, "functions")):
        rates = table.get("learning_rates")
        told = isinstance(rates, dict) and names and None not in names
        for name in rates.keys() - names if told else ():
            reason = f"is the name of no optimizer{_choice(name, names)}"
            yield ("functions", i, "learning_rates", name), reason


_KNOWN = ("quadratic", "logistic")  # functions whose curvatures are known
_OF_CURVATURE = ("triple_momentum", "robust_momentum", "item", "condition_number", "nesterov_2004")


def _unknown_to_a_problem(document: dict[str, Any], names: Sequence[str | None]) -> Iterator[tuple[Key, str]]:
    """Learning rates and condition numbers that are left to a problem that does not know them."""
    unknowing = ["data"] if _ON_DATA & document.keys() or "functions" not in document else []
    rates = []
    for i, table in enumerate(_tables(document, "functions")):
        if table.get("kind") not in _KNOWN:
            unknowing.append(f"functions.{i}")
            rates.append(table["learning_rates"] if isinstance(table.get("learning_rates"), dict) else {})
    if "data" in unknowing:
        rates.append({})
    for i, (table, name) in enumerate(zip(_tables(document, "optimizers"), names, strict=True)):
        if table and "learning_rate" not in table and not all(name in given for given in rates):
            yield (
                ("optimizers", i, "learning_rate"),
                f"is missing, and {unknowing[0]} does not know a largest curvature",
            )
        schedule = table.get("schedule") if isinstance(table.get("schedule"), dict) else {}
        for key, part in ((("optimizers", i), table), (("optimizers", i, "schedule"), schedule)):
            if unknowing and part.get("kind") in _OF_CURVATURE and "condition_number" not in part:
                yield (*key, "condition_number"), f"is missing, and {unknowing[0]} does not know one"


_OPTIMIZERS = {get_args(table.model_fields["kind"].annotation)[0]: table for table in get_args(Optimizer)}


def _optimizer(table: dict[str, Any]) -> type[Method]:
    """Which optimizer a table describes; any, where its kind is wrong."""
    kind = table.get("kind")
    return _OPTIMIZERS.get(kind, Method) if isinstance(kind, str) else Method


def _parts(document: dict[str, Any], table: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    """Parts of an optimizer's table that need one another."""
    looks_ahead = "lookahead" in table
    for key in ("evaluate", "decay_at", "restart"):
        if issubclass(_optimizer(table), Solo) and key in table and not looks_ahead:
            yield (key,), "is of a look-ahead, and there is none; give lookahead, as 0.9, or leave it out"
    if looks_ahead and "outer" in table:
        yield ("outer",), "goes around an optimizer that has no look-ahead of its own; leave one of them out"
    if "decay_at" in table and not table.get("weight_decay", _optimizer(table).model_fields["weight_decay"].default):
        yield ("decay_at",), "says where weight_decay is taken, and there is none; give it, or leave this out"
    schedule = table.get("learning_rate_schedule")
    if isinstance(schedule, dict) and schedule.get("kind") == "warmup_cosine":
        steps, warmup = [schedule["steps"]] if "steps" in schedule else _lengths(document), schedule.get("warmup")
        if type(warmup) is int and all(type(n) is int for n in steps) and warmup >= min(steps, default=math.inf):
            yield ("learning_rate_schedule", "warmup"), f"must be less than the {min(steps)} steps of all, got {warmup}"


def _lengths(document: dict[str, Any]) -> list[Any]:
    """The numbers of steps that the problems of a run give an optimizer."""
    own = [table.get("steps", document.get("steps")) for table in _tables(document, "functions")]
    return [*own, document.get("steps")] if _ON_DATA & document.keys() or not own else own


def _grids(document: dict[str, Any], names: Sequence[str | None]) -> Iterator[tuple[Key, str]]:
    """Grids of learning rates, where nothing can choose of them."""
    data = document.get("data")
    training = document.get("training")
    validated = isinstance(data, dict) and data.get("validation_fraction", 0)
    chosen = validated or (isinstance(training, dict) and "target" in training)
    functions = _tables(document, "functions")
    for i, (table, name) in enumerate(zip(_tables(document, "optimizers"), names, strict=True)):
        if not isinstance(table.get("learning_rate"), list):
            continue
        key: Key = ("optimizers", i, "learning_rate")
        without = [
            f"functions.{j}"
            for j, function in enumerate(functions)
            if not isinstance(function.get("learning_rates"), dict) or name not in function["learning_rates"]
        ]
        if without:
            yield (
                key,
                f"is a grid, of which validation data choose, and {without[0]} has none; give one number, "
                "or the function's own under its learning_rates",
            )
        elif _ON_DATA & document.keys() and not chosen:
            yield (
                key,
                "is a grid, of which validation data choose, or the steps to training.target; "
                "give data.validation_fraction, or one number",
            )
        elif "family" in document and issubclass(_optimizer(table), Member):
            yield key, "is a grid, which has no one place on the map of [family]; give one number"


def _seeds(document: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    seed, seeds = document.get("seed", 0), document.get("seeds", 1)
    if type(seed) is not int or type(seeds) is not int:
        return
    if seeds > 1 and "functions" in document and not _ON_DATA & document.keys():
        yield ("seeds",), f"must be 1 where a run has functions alone: nothing is random there, got {seeds}"
    if seed < 2**32 <= seed + seeds - 1:
        yield ("seeds",), f"must leave the last seed, seed + seeds - 1, less than {2**32}, got {seeds}"


def _standpoint(document: dict[str, Any], names: Sequence[str | None]) -> Iterator[tuple[Key, str]]:
    plane = document.get("plane")
    if not isinstance(plane, dict) or not names or None in names:
        return
    around = plane.get("around")
    if isinstance(around, str) and around not in names:
        yield ("plane", "around"), f"is the name of no optimizer{_choice(around, names)}"
    if plane.get("kind") == "points" and len(names) < 3:
        yield ("plane", "kind"), f"goes through the ends of three paths, and there are {len(names)}; take another plane"


def _divisions(document: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    def counts(value: Any) -> bool:
        return type(value) is int and 1 <= value <= 10**9

    every, steps = document.get("every", 1), document.get("steps")
    if counts(every) and counts(steps) and steps % every:
        yield ("every",), f"must divide steps = {steps}, got {every}"
    sharpness = document.get("sharpness")
    seen = sharpness.get("every") if isinstance(sharpness, dict) else None
    if counts(every) and counts(seen) and seen % every:
        yield ("sharpness", "every"), f"must be a multiple of every = {every}, got {seen}"
    for i, table in enumerate(_tables(document, "functions")):
        own = table.get("steps")
        if counts(every) and counts(own) and own % every:
            yield ("functions", i, "steps"), f"must be a multiple of every = {every}, got {own}"


def _repetitions(array: str, names: Sequence[str | None]) -> Iterator[tuple[Key, str]]:
    for i, name in enumerate(names):
        if name is not None and name in names[:i]:
            other = f"{array}.{names.index(name)}"
            yield (
                (array, i, "name"),
                f"is that of {other}, too, got {_shown(name)}; give it a name of its own",
            )


def _names(document: dict[str, Any], array: str, union: Any) -> list[str | None]:
    """The names in an array of tables, given or by kind; None where one cannot be told."""
    fields = [model.model_fields for model in get_args(union)]
    defaults = {get_args(f["kind"].annotation)[0]: f["name"].default for f in fields}
    tables = _tables(document, array)
    kinds = [table.get("kind") if isinstance(table.get("kind"), str) else None for table in tables]
    names = [table.get("name", defaults.get(kind)) for table, kind in zip(tables, kinds, strict=True)]
    return [name if isinstance(name, str) else None for name in names]


def _tables(document: dict[str, Any], array: str) -> list[dict[str, Any]]:
    items = document.get(array)
    return [t if isinstance(t, dict) else {} for t in items] if isinstance(items, list) else []


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
    lines = _lines(source, wrong)
    mistakes = []
    for key, reason in wrong.items():
        parents = (key[:n] for n in range(len(key), 0, -1))
        origin = next((source.origins[k] for k in parents if k in source.origins), None)
        what = f"{_shown_key(key)}: {reason}"
        if origin is None:
            line = lines[_reached(source.written, key)]
            mistakes.append(_Mistake(0, line, f"{source.path}:{line}: {what}"))
        else:
            mistakes.append(_Mistake(1, origin, f"--set {source.overrides[origin]}: {what}"))
    return mistakes


def _lines(source: _Source, keys: Iterable[Key]) -> dict[Key, int]:
    """The first line of the statement that brings in each key, or the table it is missing from."""
    lines: dict[Key, int] = {(): 1}
    wanted = {_reached(source.written, key) for key in keys}
    for first, _, document in _statements(source.text):
        for key in wanted - lines.keys():
            if _reached(document, key) == key:
                lines[key] = first
    return lines


def _reached(tree: Any, key: Key) -> Key:
    """The longest part of the key that exists in the tree."""
    for n, part in enumerate(key):
        there = range(len(tree)) if isinstance(tree, list) else tree
        if not isinstance(tree, dict | list) or part not in there:
            return key[:n]
        tree = tree[part]
    return key


def _at(tree: Any, key: Key) -> Any:
    """The value at a key, None where there is none."""
    if _reached(tree, key) != key:
        return None
    for part in key:
        tree = tree[part]
    return tree


# How it is said.


def _choice(word: Any, allowed: Sequence[str]) -> str:
    if not allowed:
        return ""
    near = difflib.get_close_matches(word, allowed, n=1) if isinstance(word, str) else []
    guess = f"; did you mean '{near[0]}'?" if near else ";"
    return f"{guess} allowed: {', '.join(allowed)}"


def _shown_key(key: Key) -> str:
    bare = re.compile(r"[A-Za-z0-9_-]+")
    return ".".join(p if bare.fullmatch(p) else json.dumps(p) for p in map(str, key))


def _shown(value: Any) -> str:
    """A value as TOML would say it, or what it is where that would be long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        short = len(value) <= 4 and not any(isinstance(item, dict | list) for item in value)
        return f"[{', '.join(map(_shown, value))}]" if short else f"an array of {len(value)}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 2**63:
        return "an integer beyond 64 bits"
    return reprlib.repr(value) if isinstance(value, str) else str(value)
