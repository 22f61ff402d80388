"""Processes that work on one thing together: what the first of them says, and what each of them has.

The processes are those of `jax.distributed.initialize`, which whoever starts them calls. All call the same functions in
the same order. Where one has ended, the others are told by a `ConnectionError`, and should end too.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Team(NamedTuple):
    """Processes that work together, seen from one of them."""

    number: int  # of this one
    count: int


ALONE = Team(0, 1)


def everyone() -> Team:
    """All processes."""
    return Team(jax.process_index(), jax.process_count())


def agreed(team: Team, work: Callable[[], Any]) -> Any:
    """What the first process finds, for all: it alone does the work, and what it raises is raised by all.

    Args:
        team: who calls this.
        work: returns what JSON holds.
    """
    if team.count == 1:
        return work()
    told, failed = {}, None
    if team.number == 0:
        try:
            told = {"found": work()}
        except Exception as error:
            told, failed = {"error": [type(error).__name__, str(error)]}, error
    text = np.frombuffer(json.dumps(told).encode(), np.uint8)
    size = int(of_first(team, np.array(len(text))))
    told = json.loads(of_first(team, np.resize(text, size)).tobytes())
    if failed:
        raise failed
    if "error" in told:
        kind, message = told["error"]
        known = getattr(builtins, kind, RuntimeError)
        raise (known if issubclass(known, ValueError | OSError) else RuntimeError)(message)
    return told["found"]


def by_all(team: Team, work: Callable[[], None], word: str) -> None:
    """Do what each process has to do, and go on where all could.

    Args:
        team: who calls this.
        work: what this one does.
        word: what that is, such as "write".
    """
    failed = None
    try:
        work()
    except (OSError, ValueError) as error:
        failed = error
    others = of_all(team, np.array(failed is not None))
    if failed:
        raise failed
    if others.any():
        raise OSError(f"process {int(np.flatnonzero(others)[0])} could not {word} its part")


def of_first(team: Team, array: np.ndarray) -> np.ndarray:
    """The first process's array; the others give one of its shape and type."""
    if team.count == 1:
        return array
    return merged(team, array if team.number == 0 else np.zeros_like(array))


def merged(team: Team, array: np.ndarray) -> np.ndarray:
    """An array of which each process has a part, and zeros elsewhere."""
    return array if team.count == 1 else _typed(_meet(_raw(array), _sum), array)[0]


def of_all(team: Team, array: np.ndarray) -> np.ndarray:
    """The arrays of all processes, of one shape and type: (processes, ...)."""
    return array[None] if team.count == 1 else _typed(_meet(_raw(array), _same), array)


def _same(array):
    return array


def _sum(array):
    return array.sum(axis=0, dtype=array.dtype)


@cache
def _replicating(function: Callable[[jax.Array], jax.Array], mesh: Mesh):
    return jax.jit(function, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _meet(raw: np.ndarray, function: Callable[[jax.Array], jax.Array]) -> np.ndarray:
    """A function of the processes' arrays, stacked; each process is one device, and waits until that is done.

    (`multihost_utils` takes all devices and waits for one: on CPUs what the others still say to one another has been
    seen to be taken for words of the next program.)
    """
    firsts = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh(np.array([firsts[process] for process in sorted(firsts)]), ("processes",))
    with meeting(), jax.set_mesh(mesh):  # another one, that the caller may have set, is of no concern
        own = jax.device_put(raw[None], firsts[jax.process_index()])
        layout = NamedSharding(mesh, PartitionSpec("processes"))
        stacked = jax.make_array_from_single_device_arrays((len(firsts), len(raw)), layout, [own])
        return np.asarray(jax.block_until_ready(_replicating(function, mesh)(stacked)))


def _raw(array: np.ndarray) -> np.ndarray:
    """As bytes: float64 would be rounded to float32 where jax is not set to it."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _typed(raw: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw).reshape(-1).view(like.dtype).reshape(-1, *like.shape)


@contextmanager
def meeting():
    """What is said in here between processes is told by a `ConnectionError` where one of them has ended."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # the latter where a program runs at once
        if "RESOURCE_EXHAUSTED" in str(error):
            raise
        raise ConnectionError(
            "a process has ended, or cannot be reached any more; end all of them and start them again, and what was "
            f"kept in a store is gone on from ({str(error).splitlines()[0]})"
        ) from error
