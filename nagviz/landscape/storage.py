"""What is kept: slices and paths on disk."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from nagviz.landscape.slicing import Slice
from nagviz.landscape.trajectory import Params, Trajectory


def save_slice(file: Path, cut: Slice) -> None:
    """Write a slice as an `.npz`, whole or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as stream:
        np.savez(stream, **{name: field for name, field in cut._asdict().items() if field is not None})
    partial.replace(file)


def load_slice(file: Path) -> Slice:
    """Read a slice that `save_slice` wrote."""
    with np.load(file, allow_pickle=False) as held:
        y = held["y"] if "y" in held.files else None
        labels = tuple(held["labels"].tolist())
        return Slice(held["x"], y, held["values"], labels, held["quantity"].item())


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
