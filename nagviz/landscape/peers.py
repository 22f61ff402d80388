"""Processes that work on one thing together: what the first of them says, and what each of them has.

The processes are those of `jax.distributed.initialize`, which whoever starts them calls. All call the same functions in
the same order. Where one has ended, the others are told by a `ConnectionError`, and should end too.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import numpy as np


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


def of_first(team: Team, array: np.ndarray) -> np.ndarray:
    """The first process's array; the others give one of its shape and type."""
    if team.count == 1:
        return array
    from jax.experimental import multihost_utils  # of no use to one process

    with _meeting():
        # As bytes: float64 would be rounded to float32 where jax is not set to it.
        return _typed(multihost_utils.broadcast_one_to_all(_raw(array)), array)[0]


def of_all(team: Team, array: np.ndarray) -> np.ndarray:
    """The arrays of all processes, of one shape and type: (processes, ...)."""
    if team.count == 1:
        return array[None]
    from jax.experimental import multihost_utils

    with _meeting():
        return _typed(multihost_utils.process_allgather(_raw(array)), array)


def _raw(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _typed(raw: Any, like: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw).reshape(-1).view(like.dtype).reshape(-1, *like.shape)


@contextmanager
def _meeting():
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        raise ConnectionError(
            "a process has ended, or cannot be reached any more; end all of them and start them again, and what was "
            f"kept in a store is gone on from ({str(error).splitlines()[0]})"
        ) from error
