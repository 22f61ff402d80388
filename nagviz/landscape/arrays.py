"""Named arrays with dimensions and attributes, and the way to disk: groups of zarr v3.

A group is a folder that xarray and zarr-python open as it is:

    slice.zarr/zarr.json          attributes, and the metadata of the arrays once more, so that one read tells all
    slice.zarr/values/zarr.json   shape, type, names of the dimensions, attributes
    slice.zarr/values/c/0/0       numbers, with a checksum

It is written beside its place and moved there when it is whole.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_VERSION = 1
_CHUNK = 1 << 25  # bytes
# What zarr-python reads too. Others (bfloat16, float8) are widened to float32 without loss, and told.
_TYPES = {"bool", "float16", "float32", "float64", "complex64", "complex128"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


class Named(NamedTuple):
    """An array and what is known about it."""

    data: Any  # a NumPy array, or one on disk
    dimensions: tuple[str, ...]
    attributes: dict[str, Any] = {}  # noqa: RUF012 - never written to


class Group(NamedTuple):
    """What a record is on disk."""

    kind: str  # such as "slice"
    arrays: dict[str, Named]
    attributes: dict[str, Any]


def named(data: Any, dimensions: tuple[str, ...], **attributes: Any) -> Named:
    """An array of a type that every reader has; its own type is an attribute where that differs."""
    array = np.asarray(data)
    if array.dtype.name in _TYPES:
        return Named(array, dimensions, attributes)
    return Named(array.astype(np.float32), dimensions, attributes | {"dtype": array.dtype.name})


def write(file: Path, group: Group) -> None:
    """Write a group whole or not at all; one that stands there is replaced, anything else is not touched."""
    import tensorstore as ts

    file = Path(file)
    _require_free(file)
    partial = file.with_name(f".{file.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        pending = []
        for name, array in group.arrays.items():
            store = ts.open({**_where(partial / name), "metadata": _metadata(array)}, create=True).result()
            pending.append(store.write(array.data))
        for future in pending:
            future.result()
        (partial / "zarr.json").write_text(json.dumps(_head(partial, group), allow_nan=False), encoding="utf-8")
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _swap(partial, file)


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
    lead = max(1, _CHUNK // max(1, data.itemsize * math.prod(rest)))
    chunk = [max(1, size) for size in (min(lead, data.shape[0]), *rest)] if data.ndim else []
    return {
        "shape": data.shape,
        "data_type": data.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "dimension_names": array.dimensions,
        "attributes": array.attributes,
        **({"fill_value": "NaN"} if data.dtype.kind == "f" else {}),
    }


def _head(folder: Path, group: Group) -> dict[str, Any]:
    inner = {name: json.loads((folder / name / "zarr.json").read_text("utf-8")) for name in group.arrays}
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"nagviz": {"kind": group.kind, "version": _VERSION}, **plain(group.attributes)},
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": inner},
    }


def _require_free(file: Path) -> None:
    if file.exists():
        try:
            _read_head(file)
        except ValueError as error:
            raise FileExistsError(f"{file} exists and was not written by nagviz; name another place") from error


def read(file: Path, kind: str, *, lazy: bool = False) -> Group:
    """Read a group of a kind, or open it with its arrays left on disk.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: what is there is no such group, or is damaged.
    """
    file = Path(file)
    attributes, inner = _read_head(file)
    mark = attributes.pop("nagviz")
    if mark["kind"] != kind:
        raise ValueError(f"{file} holds a {mark['kind']}, not a {kind}; load it as what it is")
    arrays = {name: _open(file, name) for name in inner}
    if not lazy:
        arrays = {name: array._replace(data=_fetch(file, name, array.data)) for name, array in arrays.items()}
    return Group(kind, arrays, restored(attributes))


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


def _open(file: Path, name: str) -> Named:
    import tensorstore as ts

    try:
        store = ts.open(_where(file / name), open=True).result()
        facts = json.loads((file / name / "zarr.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: the array {name!r} is missing or damaged; write it anew") from error
    shape, chunk = facts["shape"], facts["chunk_grid"]["configuration"]["chunk_shape"]
    wanted = math.prod(-(-size // part) for size, part in zip(shape, chunk, strict=True))
    there = sum(path.is_file() for path in (file / name / "c").rglob("*")) if shape else (file / name / "c").is_file()
    if there < wanted:
        raise ValueError(f"{file}: {wanted - there} chunks of the array {name!r} are lost; write it anew")
    attributes = facts.get("attributes", {})
    if "dtype" in attributes:
        store = ts.cast(store, ts.dtype(attributes["dtype"]))
    return Named(store, tuple(facts.get("dimension_names") or ()), attributes)


def _fetch(file: Path, name: str, store) -> np.ndarray:
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
