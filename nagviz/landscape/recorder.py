"""A path that is recorded while it is walked: rows are appended to a folder that any reader opens at any moment.

    path.zarr/zarr.json                    how many rows there are, and the metadata of all arrays: the commit record
    path.zarr/step/...                     the step of each row
    path.zarr/params.dense.kernel/c/3/0/0  some rows of a leaf, up to a few MB; a big leaf is cut as well

Rows wait in memory until they fill a chunk, which is then written while training goes on. A commit writes the chunks
that are not full, then the metadata of each array, those of `step` last, and then the record. Every file is written
beside its place, synced and moved there, and a chunk that is written again, with more rows in it, holds the committed
ones as they were. So whoever opens the folder sees the rows of one commit: no part of a row, and none twice.

A process that is killed loses the rows since its last commit. So does a power cut, as far as the disk keeps what it was
told to sync: chunks and the record are synced, the arrays' own zarr.json are not, of which the record holds a copy that
`load_trajectory`, xarray and zarr-python read. (A reader told to leave that copy alone may find the arrays of different
length, after a kill between the two; the next commit mends it.) One process at a time records into a folder, or
together all of those over which the parameters are split: each writes the parts that it holds, whose edges are edges
of chunks, and the first one makes the commit when all have written theirs.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nagviz.landscape import arrays as disk
from nagviz.landscape.arrays import Group, Named, named
from nagviz.landscape.parameters import Params, by_path
from nagviz.landscape.peers import ALONE, Team, agreed, by_all
from nagviz.landscape.shards import (
    Window,
    index_of,
    is_split,
    owned,
    owners,
    read_window,
    require_alike,
    sharers,
    split_of,
    to_write,
)
from nagviz.landscape.storage import leaf_arrays

_CHUNK = 1 << 22  # bytes of a chunk at most
_HELD = 1 << 26  # bytes of all chunks that are filling: a file costs as much time as half a megabyte, so not too few
_ROWS = 1 << 12  # in a chunk at most: what is not full is written whole
_FLYING = 1 << 26  # bytes that are being written before an append waits for them
KINDS = ("trajectory", "projection")  # of what is recorded
LAST = "last"  # the first word of the arrays of the last parameters
_UNITS = ("B", "kB", "MB", "GB", "TB")
_WRITERS = 16  # at a time: each waits for its sync, and the disk does several at once


class Column(NamedTuple):
    """An array of the folder, or the part of one that is written by itself."""

    name: str
    store: Any  # tensorstore's, of rows without end
    window: Window  # of a row


class Rows(NamedTuple):
    """What has been appended; replaced as a whole, so that an interrupt finds it as it was."""

    count: int
    last: int | None  # step
    held: list[np.ndarray]  # a chunk of each column, filled as far as count % len(chunk)


@dataclass
class Recorder:
    """An open recording; `append_rows`, `commit_rows` and `finish_recorder` are what is done with it."""

    file: Path
    kind: str
    attributes: dict[str, Any]
    like: dict[str, dict[str, jax.ShapeDtypeStruct]]  # by name and by path: each leaf of a row, and how it is split
    metadata: dict[str, dict[str, Any]]  # zarr's of each array, in that order; the last is that of the steps
    columns: list[Column]  # what this process writes of them
    rows: Rows
    committed: int  # rows
    known: np.ndarray  # steps of the rows that were there when it was opened
    view: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None  # what is kept of a row that is too big
    final: dict[str, Named] | None = None  # of them the last, as `_last_row` has it
    told: dict[str, Any] = field(default_factory=dict)  # metadata of the one that was there when it was opened
    flying: deque = field(default_factory=deque)  # (writes that are under way, their bytes)
    torn: bool = False  # the last append or commit was interrupted
    team: Team = ALONE  # the processes that record together


def open_recorder(
    file: Path, params: Params, *, rows: int | None = None, resume: bool = False, **more: Any
) -> Recorder:
    """Begin to record a path, or go on with one.

    Args:
        file: a folder to be made.
        params: what a row is: arrays of the shapes and types of the parameters, or `jax.ShapeDtypeStruct`. Where they
            are split over several processes, all of these call this function and those below in the same way, with
            rows that are split alike (with an axis in front that is not), and see one folder.
        rows: how many are expected, if that is known; chunks are then no longer than the path. (The last chunk of each
            array takes its whole size on disk, however few rows are in it: up to 64 MB together.)
        resume: go on where a recording stands there, which must be of such rows; begin one where none does.
        **more: what each row holds beside, by name: trees (`lookahead=params`) or numbers (`loss=0.0`).

    Returns:
        The recorder, which keeps no file open: what is not committed is lost with it.

    Raises:
        FileExistsError: something stands there, and it is not to be gone on with.
        ValueError: what stands there is no recording of such rows (the first leaf that differs is named), or is of
            parameters that were split otherwise, so that two processes would write to one chunk.
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile, nagviz as nv
        >>> file = Path(tempfile.mkdtemp()) / "path.zarr"
        >>> recorder = nv.open_recorder(file, {"w": np.zeros(2)}, loss=0.0)
        >>> nv.append_rows(recorder, [0, 10], {"w": np.array([[2.0, 2.0], [1.0, 0.0]])}, loss=[8.0, 1.0])
        2
        >>> nv.commit_rows(recorder)
        >>> path, facts = nv.load_trajectory(file)
        >>> print(path.steps, path.params["w"][1], facts)
        [ 0 10] [1. 0.] None
        >>> nv.finish_recorder(recorder, seconds=1.5)
        >>> losses, facts = nv.load_trajectory(file, point="loss")
        >>> print(losses.params, facts)
        [8. 1.] {'seconds': 1.5}
    """
    row = {"params": params, **more}
    return begin(Path(file), "trajectory", {}, row, rows=rows, resume=resume, team=sharers(jax.tree.leaves(row)))


def begin(
    file: Path,
    kind: str,
    attributes: Mapping[str, Any],
    row: Mapping[str, Any],
    *,
    rows: int | None,
    resume: bool,
    team: Team,
) -> Recorder:
    """A recorder of rows of any kind, trees by name, of the processes that record them together."""
    splits = _splits(row)
    group = Group(kind, _arrays(row, splits, rows), {**attributes, "facts": None})
    like = {name: by_path(jax.tree.map(_told, tree)) for name, tree in row.items()}

    def begun() -> bool:
        if file.exists():
            if not resume:
                raise FileExistsError(f"{file} exists; resume it, remove it, or name another place")
            return False
        with _telling(f"{file} cannot be begun; free space, or name a folder that can be written"):
            disk.write(file, group)
        return True

    fresh = agreed(team, begun)
    recorder = _recorder(file, group, like, splits, team)
    return recorder if fresh else _resumed(recorder)


def _splits(row: Mapping[str, Any]) -> dict[str, Any]:
    """How each array is split, by its name."""
    named_leaves = ((leaf_arrays(name, jax.tree.map(_no_rows, tree), "step"), tree) for name, tree in row.items())
    return {
        name: split_of(leaf)
        for arrays, tree in named_leaves
        for name, leaf in zip(arrays, jax.tree.leaves(tree), strict=True)
    }


def _no_rows(leaf: Any) -> np.ndarray:
    told = _told(leaf)
    return np.empty((0, *told.shape), told.dtype)


def _told(leaf: Any) -> jax.ShapeDtypeStruct:
    kind = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return jax.ShapeDtypeStruct(np.shape(leaf), kind, sharding=split_of(leaf))


def _arrays(row: Mapping[str, Any], splits: Mapping[str, Any], rows: int | None) -> dict[str, Named]:
    """The arrays of rows of trees by name, each without a row, and the steps as the last."""
    arrays: dict[str, Named] = {}
    for name, tree in row.items():
        if name in ("step", LAST) or not name.isidentifier():
            raise ValueError(f"a part of a row must have a word for a name, not step or {LAST}, got {name!r}")
        arrays |= leaf_arrays(name, jax.tree.map(_no_rows, tree), "step")
        if name not in {key.split(".")[0] for key in arrays}:
            raise ValueError(f"{name} must hold at least one array, got {tree!r}")
    arrays["step"] = named(np.empty(0, np.int64), ("step",), long_name="step")
    parts = {name: _one_part(array.data, splits.get(name)) for name, array in arrays.items()}
    # Of r rows of b bytes in a chunk, sum 1 / r files a row are fewest at a given sum r b where r b goes as sqrt(b).
    roots = {name: math.sqrt(_row_bytes(part)) for name, part in parts.items()}
    share = _HELD / sum(roots.values())
    return {
        name: array._replace(chunk=_chunk(parts[name], share * roots[name], rows or _ROWS, splits.get(name)))
        for name, array in arrays.items()
    }


def _one_part(array: np.ndarray, split: Any) -> np.ndarray:
    """What is written by itself: the whole, or, where it is split, what one device has."""
    return array if split is None else np.empty((0, *split.shard_shape(array.shape[1:])), array.dtype)


def _row_bytes(array: np.ndarray) -> int:
    return array.itemsize * math.prod(array.shape[1:])


def _chunk(array: np.ndarray, target: float, rows: int, split: Any) -> tuple[int, ...]:
    """As many whole rows as make up the bytes; of a row that is too big, about as many of its last numbers.

    Where that is one part of several, chunks end where it ends.
    """
    inner, size = array.shape[1:], _row_bytes(array)
    if size <= _CHUNK:
        lead = int(min(target, _CHUNK) // max(1, size))
        return (max(1, min(lead, rows, _ROWS)), *(max(1, length) for length in inner))
    left, chunk = _CHUNK // array.itemsize, []
    for length in reversed(inner):
        parts = -(-length // left)
        if split is not None:
            parts = next(count for count in range(parts, length + 1) if length % count == 0)
        chunk.append(-(-length // parts))
        left = max(1, left // chunk[-1])
    return (1, *reversed(chunk))


def _recorder(file: Path, group: Group, like: dict, splits: Mapping[str, Any], team: Team) -> Recorder:
    there, inner = agreed(team, lambda: disk.read_head(file, group.kind))
    by_all(team, lambda: disk.require_there(file), "find")
    _require_same(file, group, there, inner)
    metadata, columns = {name: inner[name] for name in group.arrays}, []
    for name, facts in metadata.items():
        store, split, shape = _endless(file / name, facts), splits.get(name), tuple(facts["shape"][1:])
        if split is not None:
            _require_edges(file, name, facts, owners(split, shape))
        columns += [Column(name, store, window) for window in owned(split, shape, team)]
    held = [np.empty(_chunk_shape(column), column.store.dtype.numpy_dtype) for column in columns]
    attributes = {name: value for name, value in group.attributes.items() if name != "facts"}
    rows, known = Rows(0, None, held), np.empty(0, np.int64)
    told = {name: facts for name, facts in inner.items() if name.split(".")[0] == LAST}
    return Recorder(file, group.kind, attributes, like, metadata, columns, rows, 0, known, told=told, team=team)


def _require_edges(file: Path, name: str, facts: Mapping[str, Any], parts: Iterable[Window]) -> None:
    """Refuse parts, of whatever process, of which two would be written to one chunk."""
    sizes, chunk = facts["shape"][1:], facts["chunk_grid"]["configuration"]["chunk_shape"][1:]
    for window in parts:
        for (start, stop), size, step in zip(window, sizes, chunk, strict=True):
            if start % step or (stop % step and stop != size):
                raise ValueError(
                    f"{file} cannot be gone on with by parameters split so: {name} was begun in parts of {chunk}, of "
                    f"which {[list(edges) for edges in window]} is no whole number; split them over fewer devices"
                )


def _endless(folder: Path, facts: Mapping[str, Any]) -> Any:
    """An array that is as long as may be: chunks are written before it is told that there are such rows."""
    shape = [1 << 40, *facts["shape"][1:]]
    return disk.opened(folder, {**facts, "shape": shape}, file_io_concurrency={"limit": _WRITERS})


def _chunk_shape(column: Column) -> tuple[int, ...]:
    """Rows of a chunk, each whole."""
    return (column.store.chunk_layout.write_chunk.shape[0], *(stop - start for start, stop in column.window))


def _resumed(recorder: Recorder) -> Recorder:
    file, told = recorder.file, recorder.metadata
    known = agreed(recorder.team, lambda: disk.fetch(file, "step", disk.opened(file / "step", told["step"])).tolist())
    steps = np.array(known, np.int64)

    def fetch() -> None:
        for name, facts in told.items():
            disk.open_array(file, name, facts)  # refuses a path of which a chunk is lost
        for column, chunk in zip(recorder.columns, recorder.rows.held, strict=True):
            part = len(steps) % len(chunk)
            rows = slice(len(steps) - part, len(steps))
            chunk[:part] = disk.fetch(file, column.name, column.store[rows, *index_of(column.window)])

    by_all(recorder.team, fetch, "read")
    recorder.rows = Rows(len(steps), int(steps[-1]) if len(steps) else None, recorder.rows.held)
    recorder.committed, recorder.known = len(steps), steps
    return recorder


def _require_same(file: Path, group: Group, attributes: Mapping[str, Any], inner: Mapping[str, Any]) -> None:
    """Refuse to go on with rows of another kind."""
    given = {
        name: (array.data.shape[1:], array.data.dtype.name, array.attributes) for name, array in group.arrays.items()
    }
    there = {
        name: (tuple(facts["shape"][1:]), facts["data_type"], facts.get("attributes", {}))
        for name, facts in inner.items()
        if name.split(".")[0] != LAST
    }
    for name in [*given, *there]:
        if given.get(name) != there.get(name):
            raise ValueError(
                f"{file} cannot be resumed with rows that have {_in_words(name, given)}: it has "
                f"{_in_words(name, there)}; go on with such as it was begun with, or name another place"
            )
    for name, value in disk.plain(group.attributes).items():
        if name != "facts" and attributes.get(name) != value:
            raise ValueError(f"{file} cannot be resumed with another {name}; name another place")


def _in_words(name: str, rows: Mapping[str, tuple]) -> str:
    if name not in rows:
        return f"no {name}"
    shape, kind, attributes = rows[name]
    return f"{name} of shape {shape} and type {attributes.get('dtype', kind)}"


def append_rows(recorder: Recorder, steps: Sequence[int], params: Params, **more: Any) -> int:
    """Add rows to a path; they are in it once `commit_rows` was called.

    They are copied: the arrays may be used again. Rows of a resumed path whose steps are in it already, made again
    since the last checkpoint was older, are left out.

    Args:
        recorder: from `open_recorder`.
        steps: one for each row, increasing, the first one beyond all before.
        params: each leaf (rows, *its shape).
        **more: what else a row holds, likewise.

    Returns:
        How many rows are new.

    Raises:
        ValueError: steps that do not increase; rows unlike those the recorder was opened for (the leaf is named), or
            such whose parts lie in other processes.
        OSError: the disk is full, or cannot be written.
    """
    steps, row = np.asarray(steps), {"params": params, **more}
    seen = _recorded(recorder, steps)
    leaves = _leaves(recorder, recorder.view(row) if recorder.view else row, len(steps))
    numbers = dict(zip(recorder.metadata, [*leaves, steps], strict=True))
    held, count = list(recorder.rows.held), recorder.rows.count + len(steps) - seen
    with _writing(recorder):
        for i, column in enumerate(recorder.columns):
            rows = read_window(numbers[column.name], column.window)[seen:]
            held[i] = _fill(recorder, column, held[i], rows)
    if seen < len(steps):
        recorder.rows = Rows(count, int(steps[-1]), held)
    if recorder.view and len(steps) and steps[-1] == recorder.rows.last:
        recorder.final = _last_row(params, recorder.team)
    return len(steps) - seen


def _last_row(params: Params, team: Team) -> dict[str, Named]:
    """The last of stacked parameters: a copy of it, or of the parts of this process."""
    last = jax.tree.map(lambda leaf: to_write(team, [leaf], np.shape(leaf)[1:], lambda rows: rows[-1].copy()), params)
    return leaf_arrays(LAST, last)


def _recorded(recorder: Recorder, steps: np.ndarray) -> int:
    """How many of the first steps the path had when it was resumed."""
    if steps.ndim != 1 or steps.dtype.kind not in "iu" or np.any(np.diff(steps) <= 0):
        raise ValueError(f"steps must be increasing whole numbers, one for each row, got {steps.tolist()}")
    known = recorder.known
    seen = int(np.searchsorted(steps, known[-1], side="right")) if len(known) else 0
    if odd := sorted(set(steps[:seen].tolist()) - set(known.tolist())):
        raise ValueError(f"steps must be those of the path that is resumed, which has no row at step {odd[0]}")
    last = recorder.rows.last
    if seen < len(steps) and last is not None and steps[seen] <= last:
        raise ValueError(f"steps must go on beyond the last one recorded, {last}, got {steps[seen]}")
    return seen


def _leaves(recorder: Recorder, row: Mapping[str, Any], count: int) -> list[np.ndarray]:
    """The leaves in the order of the columns, of the shape and type that they should have."""
    if odd := sorted(set(row) ^ set(recorder.like)):
        wanted = "misses" if odd[0] in recorder.like else "was opened without"
        raise ValueError(
            f"rows must hold {', '.join(recorder.like)}, as the recorder was opened; this {wanted} {odd[0]}"
        )
    leaves = []
    for name, like in recorder.like.items():
        given = {"": row[name]} if set(like) == {""} else by_path(row[name])
        for path in [*like, *given]:
            if path not in like or path not in given:
                raise ValueError(
                    f"{name}{path} is {'not known' if path in given else 'missing'}; give rows like those "
                    "that the recorder was opened for"
                )
        leaves += [_leaf(f"{name}{path}", like[path], given[path], count) for path in like]
    return leaves


def _leaf(name: str, like: jax.ShapeDtypeStruct, given: Any, count: int) -> np.ndarray:
    array = given if is_split(given) else np.asarray(given)
    if array.shape != (count, *like.shape):
        raise ValueError(f"{name} must have the shape {(count, *like.shape)}, a row for each step, got {array.shape}")
    if not np.can_cast(array.dtype, like.dtype):
        raise ValueError(f"{name} must be {like.dtype}, as the recorder was opened for, got {array.dtype}")
    require_alike(name, array, like, like.shape, "the recorder was opened with")
    return array


def _fill(recorder: Recorder, column: Column, chunk: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Put rows into a chunk and those that follow; full ones are written. Returns the one that is filling."""
    end, size = recorder.rows.count, len(chunk)
    while len(rows):
        at = end % size
        if not at and end:
            chunk = np.empty_like(chunk)  # the last one is full, and may still be on its way to the disk
        part, rows = rows[: size - at], rows[size - at :]
        chunk[at : at + len(part)] = part
        end += len(part)
        if at + len(part) == size:
            _send(recorder, column, end - size, chunk)
    return chunk


def _send(recorder: Recorder, column: Column, start: int, chunk: np.ndarray) -> None:
    """Begin to write a chunk, which is not to be changed any more."""
    _land(recorder, _FLYING - chunk.nbytes)
    window = column.store[start : start + len(chunk), *index_of(column.window)]
    recorder.flying.append((window.write(chunk, can_reference_source_data_indefinitely=True), chunk.nbytes))


def _land(recorder: Recorder, limit: int = -1) -> None:
    """Wait until no more bytes are under way; one that failed is kept, and no commit passes it."""
    while recorder.flying and sum(size for _, size in recorder.flying) > max(limit, 0):
        recorder.flying[0][0].result()
        recorder.flying.popleft()


def commit_rows(recorder: Recorder) -> None:
    """Make all rows that were appended a part of the path: from here on they are not lost with the process.

    Chunks that are not full are written as they are, and again with the next commit: up to 64 MB or one row, whichever
    is more. So commit with every checkpoint, and not with every row.

    Raises:
        OSError: the disk is full, or cannot be written; the path is what it was at the last commit.
    """
    if recorder.rows.count > recorder.committed:
        _commit(recorder)


def _commit(recorder: Recorder) -> None:
    with _writing(recorder):
        by_all(recorder.team, lambda: _flush(recorder), "write")
        _tell(recorder, recorder.rows.count)
    recorder.committed = recorder.rows.count


def _flush(recorder: Recorder) -> None:
    """Write the chunks that are not full, and wait until all is on disk."""
    count, _, held = recorder.rows
    for column, chunk in zip(recorder.columns, held, strict=True):
        if part := count % len(chunk):
            _send(recorder, column, count - part, np.concatenate([chunk[:part], np.zeros_like(chunk[part:])]))
    _land(recorder)


def _tell(recorder: Recorder, count: int, facts: Mapping[str, Any] | None = None, last: Mapping[str, Any] = {}) -> None:
    """Say how many rows there are, in the metadata of every array and, last of all, in the record."""
    inner = {name: _as_long(metadata, count) for name, metadata in recorder.metadata.items()}

    def tell() -> None:
        for name, metadata in inner.items():
            disk.replace(recorder.file / name / "zarr.json", metadata)
        record = disk.head(recorder.kind, {**recorder.attributes, "facts": facts}, {**inner, **last})
        disk.replace(recorder.file / "zarr.json", record, durable=True)

    agreed(recorder.team, tell)


def _as_long(metadata: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {**metadata, "shape": [count, *metadata["shape"][1:]]}


def finish_recorder(recorder: Recorder, **facts: Any) -> None:
    """Commit the rows, and say that these are all: a path without facts is known to be unfinished.

    Args:
        recorder: from `open_recorder`.
        **facts: numbers, texts, and lists of such, for `load_trajectory` to give back.
    """
    json.dumps(disk.plain(facts), allow_nan=False)
    _commit(recorder)
    with _writing(recorder):
        written = recorder.final is not None and disk.write_arrays(recorder.file, recorder.final, recorder.team)
        last = written or recorder.told
        _tell(recorder, recorder.committed, facts, last)


@contextmanager
def _writing(recorder: Recorder) -> Iterator[None]:
    """What is written in here is whole before anything else is: of two writes of a chunk, either may come last."""
    kept = f"its {recorder.committed} committed rows are as they were"
    with _telling(f"{recorder.file} cannot be written; {kept}: free space, or make the folder writable, and resume"):
        if recorder.torn:
            _land(recorder)
        recorder.torn = True
        yield
        recorder.torn = False


@contextmanager
def _telling(remedy: str) -> Iterator[None]:
    """What the disk refuses is told with what to do."""
    try:
        yield
    except (OSError, ValueError) as error:  # tensorstore tells of a full disk by a ValueError
        raise OSError(f"{remedy} ({str(error).split(' [tensorstore_spec')[0]})") from error


def expected_bytes(params: Params, rows: int, points: int = 1) -> int:
    """How much a path of so many rows takes on disk, before it is recorded.

    Args:
        params: as for `open_recorder`.
        rows: snapshots.
        points: trees like the parameters in each of them.

    Example:
        >>> import nagviz as nv
        >>> nv.expected_bytes({"w": np.zeros(1000, np.float32)}, rows=50, points=2)
        400000
    """
    leaves = leaf_arrays("params", jax.tree.map(_no_rows, params), "step").values()
    return rows * points * sum(leaf.data.itemsize * math.prod(leaf.data.shape[1:]) for leaf in leaves)


def bytes_in_words(size: int) -> str:
    """A size for a reader.

    Example:
        >>> bytes_in_words(400_000), bytes_in_words(3_140_000_000)
        ('400 kB', '3.1 GB')
    """
    power = min(4, max(0, (len(str(size)) - 1) // 3))
    number = size / 1000**power
    return f"{number:.1f} {_UNITS[power]}" if number < 10 and power else f"{number:.0f} {_UNITS[power]}"
