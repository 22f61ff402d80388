"""Named arrays with dimensions and attributes, and the way to disk: groups of zarr v3.

A group is a folder that xarray and zarr-python open as it is:

    slice.zarr/zarr.json          attributes, and the metadata of the arrays once more, so that one read tells all
    slice.zarr/values/zarr.json   shape, type, names of the dimensions, attributes
    slice.zarr/values/c/0/0       numbers, with a checksum

It is written beside its place and moved there when it is whole. What there is to read is what the group's own zarr.json
tells, which is replaced at one stroke: of a path that is being recorded, an array may hold more rows than it says.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nagviz.landscape.peers import ALONE, Team, agreed, by_all

_VERSION = 1
_CHUNK = 1 << 25  # bytes
# What zarr-python reads too. Others (bfloat16, float8) are widened to float32 without loss, and told.
_TYPES = {"bool", "float16", "float32", "float64", "complex64", "complex128"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True)
class Parts:
    """An array of which several processes write each its parts."""

    shape: tuple[int, ...]
    dtype: np.dtype
    held: list[tuple[tuple, np.ndarray]]  # where, and the numbers there: of this process
    chunk: tuple[int, ...]  # shape of each part

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def astype(self, dtype: Any) -> Parts:
        """The same in another type."""
        return replace_fields(self, dtype=np.dtype(dtype), held=[(at, part.astype(dtype)) for at, part in self.held])


class Named(NamedTuple):
    """An array and what is known about it."""

    data: Any  # a NumPy array, one on disk, or the parts of one
    dimensions: tuple[str, ...]
    attributes: dict[str, Any] = {}  # noqa: RUF012 - never written to
    chunk: tuple[int, ...] = ()  # shape of what is a file of its own; as many rows as fit if left out


class Group(NamedTuple):
    """What a record is on disk."""

    kind: str  # such as "slice"
    arrays: dict[str, Named]
    attributes: dict[str, Any]


def named(data: Any, dimensions: tuple[str, ...], **attributes: Any) -> Named:
    """An array of a type that every reader has; its own type is an attribute where that differs."""
    array, chunk = (data, data.chunk) if isinstance(data, Parts) else (np.asarray(data), ())
    if array.dtype.name in _TYPES:
        return Named(array, dimensions, attributes, chunk)
    return Named(array.astype(np.float32), dimensions, attributes | {"dtype": array.dtype.name}, chunk)


def write_arrays(folder: Path, arrays: Mapping[str, Named], team: Team = ALONE) -> dict[str, Any]:
    """Write arrays into a folder, each in the place of one of its name; what is told of them is returned.

    Of several processes each writes the parts that it has, and the first one what is whole.
    """
    told = agreed(team, lambda: _create_arrays(folder, arrays))

    def write() -> None:
        for name in arrays:
            require_there(folder / name)
        pending = [
            opened(folder / name, told[name])[at].write(part)
            for name, array in arrays.items()
            for at, part in _held(array.data, team)
        ]
        for future in pending:
            future.result()

    by_all(team, write, "write")
    return told


def require_there(folder: Path) -> None:
    """Refuse to write where another process made something else.

    Raises:
        FileNotFoundError: what the first one made is not there.
    """
    if not (folder / "zarr.json").is_file():
        raise FileNotFoundError(f"{folder} was made by process 0, and this one does not see it; give all one folder")


def _held(data: Any, team: Team) -> list[tuple[Any, np.ndarray]]:
    if isinstance(data, Parts):
        return data.held
    return [] if team.number else [(..., data)]


def _create_arrays(folder: Path, arrays: Mapping[str, Named]) -> dict[str, Any]:
    import tensorstore as ts

    for name, array in arrays.items():
        spec = {**_where(folder / name), "metadata": _metadata(array)}
        ts.open(spec, create=True, delete_existing=True).result()
    return {name: json.loads((folder / name / "zarr.json").read_text("utf-8")) for name in arrays}


def write(file: Path, group: Group, team: Team = ALONE) -> None:
    """Write a group whole or not at all; one that stands there is replaced, anything else is not touched."""
    file = Path(file)
    agreed(team, lambda: _require_free(file))
    partial = file.with_name(f".{file.name}.partial")
    try:
        agreed(team, lambda: _make_anew(partial))
        inner = write_arrays(partial, group.arrays, team)
        agreed(team, lambda: replace(partial / "zarr.json", head(group.kind, group.attributes, inner)))
    except ValueError as error:  # by which tensorstore tells of a full disk
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(f"{file} could not be written ({str(error).split(' [tensorstore_spec')[0]})") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    agreed(team, lambda: _swap(partial, file))


def _make_anew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _swap(partial: Path, file: Path) -> None:
    """Put a finished group in its place; at every moment the old or the new one is whole, there or beside."""
    old = file.with_name(f".{file.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if file.exists():
        file.rename(old)
    partial.rename(file)
    shutil.rmtree(old, ignore_errors=True)


def _where(folder: Path) -> dict[str, Any]:
    # A chunk of the fill value is written too: one that is missing is then known to be lost.
    store = {"driver": "file", "path": str(folder.absolute())}
    return {"driver": "zarr3", "kvstore": store, "store_data_equal_to_fill_value": True}


def _metadata(array: Named) -> dict[str, Any]:
    data = array.data
    rest = data.shape[1:]
    lead = max(1, _CHUNK // max(1, data.dtype.itemsize * math.prod(rest)))
    whole = [max(1, size) for size in (min(lead, data.shape[0]), *rest)] if data.ndim else []
    return {
        "shape": data.shape,
        "data_type": data.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(array.chunk) or whole}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "dimension_names": array.dimensions,
        "attributes": array.attributes,
        **({"fill_value": "NaN"} if data.dtype.kind == "f" else {}),
    }


def head(kind: str, attributes: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """What a group's own zarr.json says, with the metadata of the arrays in it."""
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"nagviz": {"kind": kind, "version": _VERSION}, **plain(attributes)},
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": inner},
    }


def replace(file: Path, content: Mapping[str, Any], *, durable: bool = False) -> None:
    """Put JSON in the place of a file: the old one stands there or the new one; durable, it outlasts a power cut."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(content, allow_nan=False))
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable and hasattr(os, "O_DIRECTORY"):  # Windows syncs no folder
        folder = os.open(file.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def opened(folder: Path, metadata: Mapping[str, Any], **limits: Any) -> Any:
    """The tensorstore of an array whose metadata are known from elsewhere; nothing is read or written yet."""
    import tensorstore as ts

    known = {**_where(folder), "metadata": metadata, "context": limits}
    return ts.open(known, open=True, assume_metadata=True).result()


def _require_free(file: Path) -> None:
    if file.exists():
        try:
            _read_head(file)
        except ValueError as error:
            raise FileExistsError(f"{file} exists and was not written by nagviz; name another place") from error


def read(file: Path, *kinds: str, part: str | None = None, lazy: bool = False) -> Group:
    """Read a group of a kind, or open it with its arrays left on disk.

    Args:
        file: its folder.
        kinds: what it must be, one of them.
        part: the first word of the arrays that are wanted; "step" is read too. All if left out.
        lazy: leave the arrays on disk.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there is no such group, or is damaged.
    """
    file = Path(file)
    kind, attributes, inner = _head_of(file, kinds)
    parts = {name: name.split(".")[0] for name in inner}
    if part not in (None, *parts.values()):
        raise ValueError(
            f"{file} holds no {part!r}, only {', '.join(dict.fromkeys(parts.values()))}; name one of those"
        )
    wanted = [name for name in inner if part is None or parts[name] in ("step", part)]
    arrays = {name: open_array(file, name, inner[name]) for name in wanted}
    if not lazy:
        arrays = {name: array._replace(data=fetch(file, name, array.data)) for name, array in arrays.items()}
    return Group(kind, arrays, restored(attributes))


def read_head(file: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes of a group of a kind, as JSON has them, and the metadata of its arrays by name."""
    return _head_of(file, (kind,))[1:]


def _head_of(file: Path, kinds: tuple[str, ...]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    attributes, inner = _read_head(file)
    kind = attributes.pop("nagviz")["kind"]
    if kind not in kinds:
        raise ValueError(f"{file} holds a {kind}, not a {' or a '.join(kinds)}; load it as what it is")
    return kind, attributes, inner


def _read_head(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; give the folder that was saved to")
    try:
        head = json.loads((file / "zarr.json").read_text("utf-8"))
        attributes, inner = head["attributes"], head["consolidated_metadata"]["metadata"]
        version = int(attributes["nagviz"]["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no zarr v3 group that nagviz wrote, or its zarr.json is damaged") from error
    if version > _VERSION:
        raise ValueError(
            f"{file} was written by a later nagviz (format {version}, known {_VERSION}); upgrade to read it"
        )
    return attributes, inner


def open_array(file: Path, name: str, facts: Mapping[str, Any]) -> Named:
    """An array of a group, left on disk, of which no chunk is lost."""
    import tensorstore as ts

    try:
        if not (file / name / "zarr.json").is_file():
            raise FileNotFoundError
        store = opened(file / name, facts)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: the array {name!r} is missing or damaged; write it anew") from error
    if lost := _lost(file / name / "c", facts["shape"], facts["chunk_grid"]["configuration"]["chunk_shape"]):
        raise ValueError(f"{file}: {lost} chunks of the array {name!r} are lost; write it anew")
    attributes = facts.get("attributes", {})
    if "dtype" in attributes:
        store = ts.cast(store, ts.dtype(attributes["dtype"]))
    return Named(store, tuple(facts.get("dimension_names") or ()), attributes)


def _lost(folder: Path, shape: list[int], chunk: list[int]) -> int:
    """How many chunks are not there; there may be others, of rows that are not committed."""
    if not shape:
        return int(not folder.is_file())
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    grid = (range(-(-size // part)) for size, part in zip(shape, chunk, strict=True))
    return sum("/".join(map(str, index)) not in there for index in product(*grid))


def fetch(file: Path, name: str, store) -> np.ndarray:
    """What an array on disk holds."""
    try:
        return store.read().result()
    except ValueError as error:
        raise ValueError(f"{file}: the array {name!r} is damaged: {error}; write it anew") from error


def plain(value: Any) -> Any:
    """A value in the words of JSON, which has no NaN, no infinity and no tuples."""
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case tuple() | list():
            return [plain(item) for item in value]
        case np.generic():
            return plain(value.item())
        case float() if not math.isfinite(value):
            return {"float": repr(value)}
    return value


def restored(value: Any) -> Any:
    """The inverse of `plain`, with tuples for lists."""
    match value:
        case {"float": str(text), **rest} if not rest:
            return float(text)
        case dict():
            return {key: restored(item) for key, item in value.items()}
        case list():
            return tuple(map(restored, value))
    return value
