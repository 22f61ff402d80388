"""Checkpoints: what training needs to go on, kept by Orbax in a folder that is whole or is not there.

    0-1.checkpoints/2000/    the leaves of the state after 2000 steps, by number
    0-1.checkpoints/3000/    and after 3000; older ones are removed

The structure is not stored: it is that of a state that is made anew, from the same config. So what comes back is of the
same Python types, whatever they are, and is refused where its leaves are of other shapes or types. Orbax writes beside
the place and moves what is finished there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_KEPT = 2  # the newest, and the one before it, should a power cut have damaged that


def save_checkpoint(folder: Path, step: int, state: Any) -> None:
    """Keep a state as the newest checkpoint, and remove those that are older than the one before it.

    Args:
        folder: of checkpoints, which is made.
        step: when.
        state: a tree of arrays; typed random keys are arrays too.

    Raises:
        OSError: it cannot be written; those that stand there are left as they are.

    Example:
        >>> import tempfile, optax
        >>> folder = Path(tempfile.mkdtemp()) / "run.checkpoints"
        >>> state = optax.adam(0.1).init({"w": jnp.ones(2)})
        >>> save_checkpoint(folder, 10, state)
        >>> [(step, type(load()[0]).__name__) for step, load in newest_first(folder, state)]
        [(10, 'ScaleByAdamState')]
    """
    leaves = {name: leaf for name, leaf in _named(state).items() if leaf.size}  # Orbax keeps no array without a number
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.orbax-checkpoint-tmp*"):  # by a process that was killed
            shutil.rmtree(left)
        with _checkpointer() as checkpointer:
            checkpointer.save((folder / str(step)).absolute(), {"step": np.array(step), **leaves}, force=True)
    except (OSError, ValueError) as error:
        raise OSError(f"{folder}: the checkpoint of step {step} cannot be written: {error}") from error
    for old in _steps(folder)[:-_KEPT]:
        shutil.rmtree(folder / str(old))


def newest_first(folder: Path, like: Any) -> Iterator[tuple[int, Callable[[], Any]]]:
    """The checkpoints of a folder.

    Args:
        folder: of checkpoints; there need not be one.
        like: a state of the structure, shapes and types that were saved.

    Yields:
        The step of each, and a function that loads its state, bit for bit. That raises a ValueError where it is
        damaged, or is of another kind of state.
    """
    for step in reversed(_steps(folder)):
        yield step, lambda step=step: _loaded(folder / str(step), like)


def _checkpointer():
    """Orbax's, for the first process alone: where there are several, the others do not wait for it."""
    from orbax.checkpoint import Checkpointer, PyTreeCheckpointHandler  # takes a second to load
    from orbax.checkpoint.options import MultiprocessingOptions

    alone = MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="nagviz")
    return Checkpointer(PyTreeCheckpointHandler(multiprocessing_options=alone), multiprocessing_options=alone)


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())


def _loaded(folder: Path, like: Any) -> Any:
    try:
        with _checkpointer() as checkpointer:
            held = checkpointer.restore(folder.absolute())
    except Exception as error:  # Orbax and what it stands on raise what they like
        raise ValueError(f"{folder} is damaged: {error}") from error
    wanted = {name: leaf for name, leaf in _named(like).items() if leaf.size}
    for name in {**wanted, **held}.keys() - {"step"}:
        asked, found = wanted.get(name), held.get(name)
        if asked is None or found is None or (asked.shape, asked.dtype) != (found.shape, found.dtype):
            raise ValueError(f"{folder} is a checkpoint of another state: leaf {name} differs")
    leaves, structure = jax.tree.flatten(like)
    loaded = [typed(held.get(f"{i:05d}"), leaf) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, loaded)


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by number, as NumPy has them."""
    return {f"{i:05d}": plain(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def plain(leaf: Any) -> np.ndarray:
    """An array as NumPy has it; a typed random key as its numbers."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def typed(array: np.ndarray | None, like: Any) -> Any:
    """What `plain` was made of, of the type of another; zeros where it was left out for having no number."""
    if _is_key(like):
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(like))
    return np.zeros(like.shape, like.dtype) if array is None else array


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
