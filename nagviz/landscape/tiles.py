"""Tiles of a grid on disk: what a killed evaluation has done, and whose it is.

One zarr v3 array holds them, a chunk to a tile. A tile's file appears whole or not at all, and is its own
sign that the tile is done: NaN tiles are data like any others. The array's attributes say what the tiles
belong to and how they were evaluated, and so does every tile by itself: the last entry along the last dimension
is a mark, a number made of what the slice follows from, of how it is evaluated and of the tile's place. A file
that was damaged, or that came from another store or another place, is noticed; one that was made on purpose with
this store's mark is not.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal

from nagviz.landscape.shards import row_blocks, sharers


class Tiles(NamedTuple):
    """An array on disk, by tiles."""

    path: Path
    array: Any  # tensorstore's, with the marks
    shape: tuple[int, ...]  # without them, as in `tile`
    tile: tuple[int, ...]  # the last of a row or column may be cut off by the edge
    plan: Mapping[str, Any]  # how they were evaluated
    identity: Mapping[str, str]  # what they belong to


_FORMAT = 2  # 1 had no marks


def fingerprint(**inputs: Any) -> dict[str, str]:
    """A digest of each input: trees of arrays, and whatever else by its text."""
    return {name: _digest(tree) for name, tree in inputs.items()}


# What differs from run to run: addresses, and how arrays are split over which devices.
_ELSEWHERE = r"0x[0-9a-f]+|(Abstract)?Mesh\((?:[^()]|\([^()]*\))*\)|(?<=\w)@(\w+|\([^()]*\))"


def text_of(closed) -> tuple[str, list]:
    """A closed jaxpr as its text without addresses, and the arrays that it and those in it closed over.

    Raises:
        ValueError: it calls back into Python, of which nothing is known.
    """
    arrays, calls = [], []

    def walk(value):
        if isinstance(value, tuple | list):
            for part in value:
                walk(part)
        elif hasattr(value, "eqns"):
            arrays.extend(getattr(value, "consts", ()))
            for equation in value.eqns:
                calls.extend([equation.primitive.name] if "callback" in equation.primitive.name else ())
                arrays.extend(atom.val for atom in equation.invars if isinstance(atom, Literal))
                walk(list(equation.params.values()))

    walk(closed)
    if calls:
        raise ValueError(
            f"store must be left out for a loss that calls back into Python ({calls[0]}): its tiles could "
            "not be told from those of another"
        )
    return re.sub(_ELSEWHERE, "", str(closed)), arrays


def _digest(tree: Any) -> str:
    leaves, structure = jax.tree.flatten(tree)
    total = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, str):
            total.update(leaf.encode())
            continue
        if hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        blocks = row_blocks(leaf) if sharers([leaf]).count > 1 else [leaf := np.ascontiguousarray(leaf)]
        total.update(f"{leaf.dtype}{leaf.shape}".encode())
        for block in blocks:
            total.update(block.reshape(-1).view(np.uint8))
    return total.hexdigest()


def find_tiles(path: Path, identity: Mapping[str, str]) -> Tiles | None:
    """Open the tiles at a path, where there are any.

    Raises:
        ValueError: they belong to a slice of other inputs, or what lies there is no such array.
    """
    path = Path(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    try:
        metadata = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
        held, plan = metadata["attributes"]["identity"], metadata["attributes"]["plan"]
        form = metadata["attributes"].get("format", 1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"store {path} holds no tiles of a slice ({error!r}); give another path") from error
    if odd := [name for name in {**identity, **held} if identity.get(name) != held.get(name)]:
        told = [f"another {name} ({_short(held, name)} there, {_short(identity, name)} here)" for name in odd]
        raise ValueError(
            f"store {path} holds tiles of another slice, with {', '.join(told)}; give another path, or remove it to "
            "start anew"
        )
    if form != _FORMAT:
        raise ValueError(
            f"store {path} was written by another nagviz (format {form}, known {_FORMAT}); give another path"
        )
    array = _open(path)
    *shape, marked = array.shape
    tile = array.chunk_layout.write_chunk.shape[:-1]
    return Tiles(path, array, (*shape, marked - 1), (*tile, marked - 1), plan, identity)


def _short(identity: Mapping[str, str], name: str) -> str:
    return str(identity.get(name, "none"))[:8]


def make_tiles(path: Path, shape, tile, identity: Mapping[str, str], plan: Mapping[str, Any]) -> Tiles:
    """An empty array of tiles at a path.

    Args:
        path: a folder that is not there yet, or is empty.
        shape: (rows, columns, ...).
        tile: of a tile, likewise.
        identity: from `fingerprint`.
        plan: whatever is needed to carry on in the same way.
    """
    metadata = {
        "shape": [*shape[:-1], shape[-1] + 1],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*tile[:-1], tile[-1] + 1]}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "data_type": "float64",
        "fill_value": "NaN",
        "dimension_names": ["y", "x", "quantity", "part"][: len(shape)],
        "attributes": {
            "format": _FORMAT,
            "mark": "the last of each part",
            "identity": dict(identity),
            "plan": dict(plan),
        },
    }
    path = Path(path)
    with _writing(path):
        array = _open(path, metadata=metadata, create=True)
    return Tiles(path, array, tuple(shape), tuple(tile), plan, identity)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the disk refuses is told with what to do; tensorstore tells of a full one by a ValueError."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).split(" [tensorstore_spec")[0]
        raise OSError(
            f"store {path} cannot be written; free space, or make the folder writable; tiles that are whole stay "
            f"({reason})"
        ) from error


def _open(path: Path, **options):
    import tensorstore  # an import of a tenth of a second, for those who keep tiles

    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(path.absolute())},
        "store_data_equal_to_fill_value": True,  # or a tile of NaN would leave no file
        **options,
    }
    return tensorstore.open(spec).result()


def windows(shape, tile) -> dict[tuple[int, int], tuple[slice, slice]]:
    """The rows and columns of every tile, by the tile's number in each direction."""
    starts = [range(0, end, step) for end, step in zip(shape[:2], tile[:2], strict=True)]
    return {
        (i, j): (slice(row, min(row + tile[0], shape[0])), slice(column, min(column + tile[1], shape[1])))
        for i, row in enumerate(starts[0])
        for j, column in enumerate(starts[1])
    }


def is_done(tiles: Tiles, number: tuple[int, int]) -> bool:
    """Whether a tile is on disk."""
    return (tiles.path / "c" / "/".join(map(str, [*number, *[0] * (len(tiles.shape) - 2)]))).is_file()


def write_tile(tiles: Tiles, number: tuple[int, int], block: np.ndarray) -> None:
    """Put a tile on disk, whole or not at all."""
    marks = np.full((*block.shape[:-1], 1), _mark(tiles, number))
    marked = np.concatenate([block, marks], axis=-1)
    with _writing(tiles.path):
        tiles.array[windows(tiles.shape, tiles.tile)[number]].write(marked).result()


def _mark(tiles: Tiles, number: tuple[int, int]) -> float:
    """A whole number of 48 bits, which float64 holds exactly."""
    owner = json.dumps([tiles.identity, tiles.plan, tiles.shape, tiles.tile, number], sort_keys=True)
    return float(int.from_bytes(hashlib.sha256(owner.encode()).digest()[:6], "big"))


def read_tile(tiles: Tiles, number: tuple[int, int]) -> np.ndarray:
    """A tile from disk.

    Raises:
        ValueError: its file is damaged, or another's.
    """
    try:
        block = tiles.array[windows(tiles.shape, tiles.tile)[number]].read().result()
    except ValueError as error:
        raise ValueError(
            f"store {tiles.path}: tile {number} is damaged ({error}); remove its file to evaluate it anew"
        ) from error
    if np.any(block[..., -1] != _mark(tiles, number)):
        raise ValueError(
            f"store {tiles.path}: tile {number} is that of another slice or of another place; remove its file to "
            "evaluate it anew"
        )
    return block[..., :-1]
