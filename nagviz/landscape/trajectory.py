"""The path that an optimizer took."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

Params = Any  # a pytree of arrays


class Trajectory(NamedTuple):
    """Snapshots of the parameters along a path."""

    steps: np.ndarray  # (snapshots,), increasing
    params: Params  # each leaf (snapshots, *its shape)


def last(trajectory: Trajectory) -> Params:
    """The parameters at the end of the path."""
    return jax.tree.map(lambda leaf: leaf[-1], trajectory.params)


def save_trajectory(file: Path, trajectory: Trajectory, **facts: float) -> None:
    """Write a path and facts about it as an `.npz`, whole or not at all."""
    leaves = {f"leaf_{i}": leaf for i, leaf in enumerate(jax.tree.leaves(trajectory.params))}
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as stream:
        np.savez(stream, steps=trajectory.steps, **leaves, **facts)
    partial.replace(file)


def load_trajectory(file: Path, like: Params) -> tuple[Trajectory, dict[str, float]]:
    """Read a path, as a tree like the parameters given, and the facts that were saved with it."""
    with np.load(file, allow_pickle=False) as held:
        leaves = [held[f"leaf_{i}"] for i in range(len(jax.tree.leaves(like)))]
        facts = {k: held[k].item() for k in held.files if k != "steps" and not k.startswith("leaf_")}
        steps = held["steps"]
    return Trajectory(steps, jax.tree.unflatten(jax.tree.structure(like), leaves)), facts
