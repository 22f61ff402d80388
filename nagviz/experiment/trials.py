"""Training that survives: trials whose rows and checkpoints reach the disk chunk by chunk, and go on from there.

A trial is one optimizer at one learning rate from one seed, and becomes one file, the path it took. Trials that share
a loss and an optimizer's kind may run side by side; they are one group. After each chunk the rows of the paths are
committed, and then, every so many steps, a checkpoint of (parameters, optimizer state, step). Whatever moment a run is
killed at, the same call goes on from the newest checkpoint, drops the rows behind it, and ends in the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from nagviz import landscape
from nagviz.experiment.training import Batches, train


class Course(NamedTuple):
    """What the trials of a group share."""

    loss: Callable[..., jax.Array]  # loss(params), or loss(params, batch)
    optimizer: Callable[[Any], optax.GradientTransformation]  # of the rate: a float for one trial alone, side by side
    # a schedule (step -> traced scalar); Optax and nagviz take both as learning_rate
    deployed: Callable[[optax.OptState, Any], Any]  # state, params -> the point that is kept and measured
    restarts: Callable[[optax.OptState], jax.Array]  # how often it has restarted
    watch: Callable[
        [Any], jax.Array
    ]  # stacked points (snapshots, ...) -> (snapshots,) loss; jitted; not finite: diverged
    snapshots: np.ndarray  # (n,) int, increasing, from 1: steps at which a row is kept; the last one ends the trial
    tolerance: float | None = None  # of `watch`, at which a path is complete
    checkpoint_every: int = 1000  # steps; fewer bound a chunk as well


class Trial(NamedTuple):
    """What is a trial's own."""

    learning_rate: float
    start: Any  # parameters; kept, not donated
    batches: Batches | None  # the same data for all of a group, each its own seed
    file: Path  # of its path, such as runs/x/paths/0-1.zarr; its checkpoints stand beside it until it is done


class Facts(NamedTuple):
    """What a trial's path does not tell by itself; kept in its file, as `load_trajectory(file)[1]`."""

    seconds: float  # of training, without compilation; of the whole group where trials ran side by side
    diverged: int | None  # the step at which the loss was first seen not to be finite
    restarts: int
    marks: list[int]  # steps of the rows at which there were more restarts than a row before


def run_trials(course: Course, trials: Sequence[Trial], advance: Callable[[int], None]) -> list[Facts]:
    """Train trials that are not done yet, side by side where there are several, and keep their paths.

    Call it again after any end, under the same config: what is done is kept, and what is not goes on.

    Args:
        course: what the trials share.
        trials: each with a file of its own.
        advance: is told how many steps more are done, of one trial; all together `len(trials) * last snapshot`.

    Returns:
        The facts of each trial; its path is in its file, the start (step 0) as first row, as far as it is finite and
        the tolerance is not reached.

    Raises:
        Refusal: a file is damaged, or cannot be written; it says which.
        KeyboardInterrupt: Ctrl-C was pressed; chunk and checkpoint are saved. A second one ends the process at once.
    """
    facts = []
    for trial in trials:
        if not is_done(trial.file):
            _run(course, trial, advance)
        facts.append(Facts(**landscape.load_trajectory(trial.file, trial.start)[1]))
    return facts


def is_done(file: Path) -> bool:
    """Whether a trial's path is complete, so that it will not be trained again."""
    return file.exists()


def _run(course: Course, trial: Trial, advance) -> None:
    start = jax.tree.map(lambda leaf: np.asarray(leaf)[None], trial.start)
    path = landscape.Trajectory(np.zeros(1, int), start)
    kept, counts, seconds, diverged = [path], [np.zeros(1, int)], 0.0, None
    steps, optimizer = int(course.snapshots[-1]), course.optimizer(trial.learning_rate)
    for chunk in train(
        course.loss,
        trial.start,
        optimizer,
        steps=steps,
        every=int(course.snapshots[0]),
        batches=trial.batches,
        observe=lambda state, params: (course.deployed(state, params), course.restarts(state)),
    ):
        point, count = chunk.params
        kept.append(landscape.Trajectory(chunk.steps, point))
        counts.append(count)
        seconds += chunk.seconds
        advance(len(chunk.losses))
        watched = np.asarray(course.watch(point))
        before = chunk.steps[-1] - len(chunk.losses) + np.arange(len(chunk.losses))
        after = np.isfinite(watched) & _finite(landscape.Trajectory(chunk.steps, point))
        seen = [*before[~np.isfinite(chunk.losses)], *chunk.steps[~after]]
        diverged = int(min(seen)) if seen else None
        if diverged is not None or (course.tolerance is not None and (watched <= course.tolerance).any()):
            advance(steps - int(chunk.steps[-1]))
            break
    path = jax.tree.map(lambda *parts: np.concatenate(parts), *kept)
    steps, count = path.steps, np.concatenate(counts)
    path = jax.tree.map(lambda leaf: leaf[_finite(path)], path)
    watched = np.asarray(course.watch(path.params))
    if course.tolerance is not None and (watched <= course.tolerance).any():
        end = int(np.argmax(watched <= course.tolerance)) + 1
        path = jax.tree.map(lambda leaf: leaf[:end], path)
    seen = steps <= path.steps[-1]
    marks = steps[1:][(np.diff(count) > 0) & seen[1:]].tolist()
    facts = Facts(seconds, diverged, int(count[seen][-1]), marks)
    landscape.save_trajectory(trial.file, path, **facts._asdict())


def _finite(path: landscape.Trajectory) -> np.ndarray:
    leaves = (np.asarray(leaf) for leaf in jax.tree.leaves(path.params))
    rows = [np.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1) for leaf in leaves]
    return np.all(rows, axis=0)
