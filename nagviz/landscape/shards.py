"""Leaves piece by piece: the shards of an array that lies on several devices, the chunks of one on disk.

What is summed over all parameters is summed over such pieces, each by the process that has it, and then over the
processes. So no process ever holds more than its own part of an array that is split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import jax
import numpy as np

from nagviz.landscape.arrays import Parts
from nagviz.landscape.peers import ALONE, Team, everyone, merged, of_all

Window = tuple[tuple[int, int], ...]  # a part of an array: along each of its axes, from where to where


def is_split(leaf: Any) -> bool:
    """Whether an array lies on several devices, of which none has all of it."""
    return isinstance(leaf, jax.Array) and split_of(leaf) is not None


def split_of(leaf: Any) -> Any:
    """How an array, or one that is only told of, is split over devices; None if every one has all of it."""
    sharding = getattr(leaf, "sharding", None)
    return None if sharding is None or sharding.is_fully_replicated else sharding


def owned(sharding: Any, shape: tuple[int, ...], team: Team) -> list[Window]:
    """The parts of an array that this process, and no other one of a team, answers for."""
    if sharding is None:
        return [] if team.number else [tuple((0, size) for size in shape)]
    return [window for window, at in owners(sharding, shape).items() if at == jax.process_index()]


def owners(sharding: Any, shape: tuple[int, ...]) -> dict[Window, int]:
    """All parts of an array, and the process that answers for each: every process finds the same."""
    found: dict[Window, int] = {}
    for at, window in _holders(sharding, shape):
        found.setdefault(window, at)
    return found


def _holders(sharding: Any, shape: tuple[int, ...]) -> list[tuple[int, Window]]:
    """Which process has which part of an array."""
    parts = sharding.devices_indices_map(shape).items()
    return [(device.process_index, window_of(index, shape)) for device, index in parts]


def sharers(leaves: Iterable[Any]) -> Team:
    """The processes that hold arrays together, each a part; this one alone where it has them whole.

    Raises:
        ValueError: some are split over processes and others over the devices of one, for which nobody would answer.
    """
    splits = [leaf for leaf in leaves if split_of(leaf) is not None]
    own = [leaf for leaf in splits if leaf.sharding.is_fully_addressable]
    if own and len(own) < len(splits):
        raise ValueError(
            f"an array of shape {own[0].shape} is split over devices of one process by {own[0].sharding}, and others "
            "over several processes; give all of them shardings of one mesh by jax.device_put"
        )
    return ALONE if len(own) == len(splits) else everyone()


def require_alike(name: str, leaf: Any, like: Any, shape: tuple[int, ...], model: str) -> None:
    """Refuse an array over several processes of which one has not the parts that it has of another array.

    Every process knows where all parts are, so that all of them refuse it, or none.

    Args:
        name: of the array, for a reader.
        leaf: the array.
        like: the other one. Both may be stacked; a process then needs its parts of all points.
        shape: of one point.
        model: what the other one is called.
    """
    split, wanted = split_of(leaf), split_of(like)
    if split is None or split.is_fully_addressable:
        return
    lead = tuple((0, size) for size in leaf.shape[: len(leaf.shape) - len(shape)])
    parts = set() if wanted is None else {(at, _of_point(window, shape)) for at, window in _holders(wanted, like.shape)}
    if not parts or not {(at, lead + window) for at, window in parts} <= set(_holders(split, leaf.shape)):
        layout = (
            wanted and f"{wanted}: by jax.device_put, its devices in that order, None for an axis of points in front"
        )
        raise ValueError(
            f"{name} must be laid out over processes as {model}, {layout or 'whole in each'}; it has {split}"
        )


def _of_point(window: Window, shape: tuple[int, ...]) -> Window:
    """The part of one point that a part of stacked ones is."""
    return window[len(window) - len(shape) :]


def total(team: Team, value: np.ndarray) -> np.ndarray:
    """The sum of what the processes have found, each in its windows."""
    return of_all(team, value).sum(axis=0)


def own_shards(leaf: jax.Array) -> dict[Window, jax.Shard]:
    """The parts of an array that this process holds, each once."""
    return {window_of(shard.index, leaf.shape): shard for shard in leaf.addressable_shards}


def window_of(index: Sequence[slice], shape: Sequence[int]) -> Window:
    """The part that an index of slices picks."""
    return tuple(part.indices(size)[:2] for part, size in zip(index, shape, strict=True))


def index_of(window: Window) -> tuple[slice, ...]:
    """The index that picks a part."""
    return tuple(slice(*edges) for edges in window)


_BLOCK = 1 << 24  # bytes


def row_blocks(leaf: jax.Array) -> Iterator[np.ndarray]:
    """All of an array that is split over processes, some rows at a time, to each of them; the same however split."""
    team = everyone()
    step = max(1, _BLOCK // (leaf.dtype.itemsize * math.prod(leaf.shape[1:]) or 1))
    for start in range(0, len(leaf), step):
        block = np.zeros((min(step, len(leaf) - start), *leaf.shape[1:]), leaf.dtype)
        for (first, end), *rest in owned(leaf.sharding, leaf.shape, team):
            low, high = max(first, start), min(end, start + len(block))
            if low < high:
                part = read_window(leaf, ((first, end), *rest))[low - first : high - first]
                block[low - start : high - start, *index_of(rest)] = part
        yield merged(team, block)


def windows_for_sum(leaves: Sequence[Any], shape: tuple[int, ...], team: Team) -> list[Window]:
    """Windows of arrays of one shape, that may be stacked, such that all processes together go through all once."""
    splits = [leaf for leaf in leaves if is_split(leaf)]
    if not splits:
        return [] if team.number else _by_chunks(leaves, shape)
    like = min(splits, key=np.ndim)
    for leaf in splits:
        require_alike(f"an array of shape {leaf.shape}", leaf, like, shape, "the array that it goes with")
    windows = owned(like.sharding, like.shape, team)
    return list(dict.fromkeys(_of_point(window, shape) for window in windows))  # points may be split as well


def to_write(
    team: Team, leaves: Sequence[Any], shape: tuple[int, ...], make: Callable[..., np.ndarray]
) -> np.ndarray | Parts:
    """An array that is made of others, or what this process has to write of it where those are split.

    Args:
        team: the processes that hold them.
        leaves: the others, that may be stacked.
        shape: of one point.
        make: its numbers from theirs, whichever window they are of.
    """
    splits = [leaf for leaf in leaves if is_split(leaf)]
    if not splits:
        return make(*map(np.asarray, leaves))
    windows = windows_for_sum(leaves, shape, team)
    held = [((..., *index_of(window)), make(*(read_window(leaf, window) for leaf in leaves))) for window in windows]
    nothing = make(
        *(np.empty((*leaf.shape[: leaf.ndim - len(shape)], *(0 for _ in shape)), leaf.dtype) for leaf in leaves)
    )
    lead, like = nothing.shape[: nothing.ndim - len(shape)], min(splits, key=np.ndim)
    part = like.sharding.shard_shape(like.shape)[like.ndim - len(shape) :]
    return Parts((*lead, *shape), nothing.dtype, held, tuple(max(1, size) for size in (*lead, *part)))


def windows_here(leaves: Sequence[Any], shape: tuple[int, ...]) -> list[Window]:
    """Windows that make up what this process holds of the first array, or all where that is not split."""
    return list(own_shards(leaves[0])) if is_split(leaves[0]) else _by_chunks(leaves, shape)


def _by_chunks(leaves: Sequence[Any], shape: tuple[int, ...]) -> list[Window]:
    """Windows whose edges are those of the chunks of an array on disk, so that each is read once."""
    steps = shape
    for leaf in leaves:
        if hasattr(leaf, "chunk_layout") and shape:
            steps = leaf.chunk_layout.read_chunk.shape[-len(shape) :]
    ranges = [range(0, size, step or size or 1) for size, step in zip(shape, steps, strict=True)]
    return [
        tuple((start, min(start + part.step, size)) for start, part, size in zip(at, ranges, shape, strict=True))
        for at in product(*ranges)
    ]


def read_window(leaf: Any, window: Window) -> np.ndarray:
    """A part of an array, of each of its points where it is stacked.

    Raises:
        ValueError: the array is split over processes along other edges than the window's.
    """
    lead = np.ndim(leaf) - len(window)
    window = (*((0, size) for size in np.shape(leaf)[:lead]), *window)
    if is_split(leaf):
        shards = own_shards(leaf)
        if window in shards:
            return np.asarray(shards[window].data)
        if not leaf.is_fully_addressable:
            raise ValueError(
                f"arrays over several processes must be split alike, got one of shape {leaf.shape} with "
                f"{leaf.sharding}; give it the sharding of the parameters by jax.device_put"
            )
    return np.asarray((leaf if hasattr(leaf, "chunk_layout") else np.asarray(leaf))[index_of(window)])


def joined(shape: tuple[int, ...], sharding: Any, parts: dict[Window, np.ndarray]) -> Any:
    """An array of parts by their windows: split in a way, or, without one, whole."""
    if sharding is not None:
        return jax.make_array_from_callback(shape, sharding, lambda index: parts[window_of(index, shape)])
    whole = np.empty(shape, next(iter(parts.values())).dtype)
    for window, part in parts.items():
        whole[index_of(window)] = part
    return whole
