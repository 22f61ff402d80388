"""Training that survives: trials whose rows and checkpoints reach the disk chunk by chunk, and go on from there.

A trial is one optimizer at one learning rate from one seed, and becomes one file, the path it took. Trials that share
a loss and an optimizer's kind may run side by side; they are one group. Every so many steps the rows of the paths are
committed, and then a checkpoint of (parameters, optimizer state, step). So no checkpoint lies beyond the rows, and
whatever moment a run is killed at, the same call goes on from the newest checkpoint: rows that are there already come
out as they were, and are left out.

Of a model that is too big to keep at every snapshot, a row is where the point lies in a plane that is known before
training, with what is measured there, since there will be no point to measure afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from nagviz import landscape
from nagviz.experiment.checkpoints import newest_first, save_checkpoint
from nagviz.experiment.measures import at_both
from nagviz.experiment.report import Refusal
from nagviz.experiment.training import Batches, Chunk, begun, begun_together, train, train_together
from nagviz.landscape import append_rows, arrays, commit_rows, finish_recorder, open_projection, open_recorder
from nagviz.landscape.recorder import KINDS, Recorder
from nagviz.landscape.storage import telling, tree_of

AHEAD, MEASURES = "lookahead", "measures"  # what rows may hold beside the point
_SMALL = 20_000  # parameters, of a model whose trials take less time together, compiled once, than one after another


class Projected(NamedTuple):
    """How a path is kept of which the points are not."""

    plane: Callable[[Any], landscape.Plane]  # of a trial's start
    measured: Callable[[Any], dict[str, np.ndarray]]  # of stacked points
    every: int = 1  # rows between two that are measured; in any case the last of a chunk, which may be that of the path


class Course(NamedTuple):
    """What the trials of a group share."""

    loss: Callable[..., jax.Array]  # loss(params), or loss(params, batch)
    # Of the rate: a float for one trial alone, a schedule (step -> traced scalar) side by side.
    optimizer: Callable[[Any], optax.GradientTransformation]
    deployed: Callable[[optax.OptState, Any], Any]  # state, params -> the point that is kept and measured
    restarts: Callable[[optax.OptState], jax.Array]  # how often it has restarted
    watch: Callable[[Any], jax.Array]  # points (snapshots, ...) -> their losses, (snapshots,); not finite: diverged
    snapshots: np.ndarray  # (n,) int, increasing, from 1: steps at which a row is kept; the last one ends the trial
    tolerance: float | None = None  # of `watch`, at which a path is complete
    checkpoint_every: int = 1000  # steps, at least; a chunk is no longer
    lookahead: bool = False  # whether a row keeps the parameters where the gradient is taken, beside the point
    # state, parameters -> further numbers to be kept beside a row, by name
    observe: Callable[[optax.OptState, Any], dict[str, jax.Array]] = lambda state, params: {}
    projected: Projected | None = None  # where rows hold no point, but where it lies in a plane


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


class Crew(NamedTuple):
    """Devices that share each batch, and what other processes are told that have some of them."""

    mesh: jax.sharding.Mesh | None = None  # None is one device
    begin: Callable[[int, Any], None] = lambda done, carried: None  # where all are to begin: steps, what is carried
    halted: Callable[[bool], bool] = lambda stop: stop  # whether to stop, asked before each chunk: one answer for all


def run_trials(
    course: Course,
    trials: Sequence[Trial],
    advance: Callable[..., None],
    crew: Crew = Crew(),  # noqa: B008
) -> list[Facts]:
    """Train trials that are not done yet, side by side where there are several, and keep their paths.

    Call it again after any end, under the same config: what is done is kept, and what is not goes on.

    Args:
        course: what the trials share.
        trials: each with a file of its own.
        advance: is told how many steps more are done, of one trial, all together `len(trials) * last snapshot`; and
            `spared=True` with those that took no work.
        crew: devices that share each batch. They need not be as many as when a trial was begun.

    Returns:
        The facts of each trial; its path is in its file, the start (step 0) as first row, as far as it is finite and
        the tolerance is not reached.

    Raises:
        Refusal: a file is damaged, or cannot be written; it says which.
        KeyboardInterrupt: Ctrl-C was pressed; chunk and checkpoint are saved. A second one ends the process at once.
    """
    with _telling(), _listening() as interrupted:
        if all(is_done(trial.file) for trial in trials):
            advance(int(course.snapshots[-1]) * len(trials), spared=True)
        else:
            _run(course, trials, advance, interrupted, crew)
        shutil.rmtree(_checkpoints(trials), ignore_errors=True)
        if interrupted():  # while the last chunk was on its way
            raise KeyboardInterrupt(f"{trials[0].file.stem} is done")
    return [Facts(**_facts(trial.file)) for trial in trials]


def side_by_side(trials: Sequence[Trial]) -> list[Sequence[Trial]]:
    """Trials of one course in groups to be run together: all of them where the model is small, else each by itself."""
    numbers = sum(leaf.size for leaf in jax.tree.leaves(trials[0].start))
    return [trials] if numbers <= _SMALL else [[trial] for trial in trials]


def is_done(file: Path) -> bool:
    """Whether a trial's path is complete, so that it will not be trained again.

    Raises:
        Refusal: what stands there is damaged, or is no path.
    """
    return file.exists() and _facts(file) is not None


def _facts(file: Path) -> dict[str, Any] | None:
    return load_beside(file, "restarts")[2]


def load_beside(file: Path, name: str) -> tuple[np.ndarray, Any, dict[str, Any] | None]:
    """Of a path, whether its points are kept or not: the steps, what is kept beside its rows by a name, and its facts.

    Raises:
        Refusal: it is missing or damaged.
    """
    with _damages(file), telling(file):
        group = arrays.read(file, *KINDS, part=name)
        return group.arrays["step"].data, tree_of(name, group, None, stacked=True), group.attributes["facts"]


def load(file: Path, *like: Any, **options: Any) -> tuple[landscape.Trajectory, dict[str, Any] | None]:
    """As `load_trajectory` does; the facts are None while the path is not finished.

    Raises:
        Refusal: it is missing or damaged.
    """
    with _damages(file):
        return landscape.load_trajectory(file, *like, **options)


def load_projected(file: Path, like: Any) -> landscape.RecordedProjection:
    """As `load_projection` does.

    Raises:
        Refusal: it is missing or damaged.
    """
    with _damages(file):
        return landscape.load_projection(file, like)


@contextmanager
def _damages(file: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise Refusal(f"{error}; delete {file} and --resume, to train that path again") from None


def _checkpoints(trials: Sequence[Trial]) -> Path:
    return trials[0].file.with_suffix(".checkpoints")


class _Group(NamedTuple):
    """Trials as one training."""

    train: Callable[..., Iterator[Chunk]]
    begun: Callable[[], Any]  # what it carries before the first step


def _group(course: Course, trials: Sequence[Trial], mesh: jax.sharding.Mesh | None = None) -> _Group:
    rates, starts, batches, _ = zip(*trials, strict=True)
    if len(trials) == 1:
        optimizer = course.optimizer(*rates)
        alone = partial(train, course.loss, *starts, optimizer, batches=batches[0], mesh=mesh)
        return _Group(alone, lambda: begun(*starts, optimizer))
    drawn = None if batches[0] is None else batches
    together = partial(train_together, course.loss, starts, course.optimizer, rates, batches=drawn, mesh=mesh)
    return _Group(together, lambda: begun_together(starts, course.optimizer, rates))


class Replayed(NamedTuple):
    """Where a trial stood after some of its steps."""

    optimizer: optax.GradientTransformation  # of which the state is
    params: Any
    state: optax.OptState
    row: tuple[int, Any] | None  # the last row that was passed on the way: its step, and the point that is kept


def replay(course: Course, trials: Sequence[Trial], which: int, steps: int) -> Replayed:
    """Take a trial's steps once more, to the bit as they were taken: in its group, on the same batches.

    Args:
        course: what the trials of the group share.
        trials: those of the group.
        which: of them.
        steps: how many. They are taken from the newest checkpoint before them, or from the start.
    """
    group, row = _group(course, trials), None
    found = _checkpoint(_checkpoints(trials), group, lambda step: step <= steps)
    carried = found and (found[0], found[1][0])
    kept = course.snapshots[course.snapshots <= steps][-1:]
    for chunk in group.train(steps=steps, snapshots=kept, observe=course.deployed, carried=carried):
        carried = chunk.done, chunk.carried
        if len(chunk.steps):
            row = int(chunk.steps[0]), chunk.observed
    alone, rate = len(trials) == 1, trials[which].learning_rate
    (params, state), seen = (carried[1], row and row[1]) if alone else _of(which, (carried[1], row and row[1]))
    optimizer = course.optimizer(rate if alone else lambda count: rate)
    return Replayed(optimizer, params, state, row and (row[0], _of(0, seen)))


def _of(which: int, trees: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[which], trees)


def _run(course: Course, trials: Sequence[Trial], advance, interrupted: Callable[[], bool], crew: Crew) -> None:
    """Train until all are done, or until interrupted."""
    group, folder = _group(course, trials, crew.mesh), _checkpoints(trials)
    recorders = _open(course, trials)
    carried, seconds = _newest(folder, group, recorders, course.snapshots)
    done, steps = carried[0] if carried else 0, int(course.snapshots[-1])
    advance(done * len(trials), spared=True)
    crew.begin(done, carried and carried[1])
    for chunk in _chunks(course, group, carried, lambda: crew.halted(interrupted() or not recorders)):
        if not recorders:
            continue  # it was on its way when the last ones were done
        seconds += chunk.seconds
        advance((chunk.done - done) * len(trials))
        _keep(course, trials, recorders, chunk, seconds)
        if not recorders:
            advance((steps - chunk.done) * len(trials), spared=True)
            continue
        if interrupted() or chunk.done // course.checkpoint_every > done // course.checkpoint_every:
            for recorder in recorders.values():
                commit_rows(recorder)
            save_checkpoint(folder, chunk.done, (chunk.carried, np.float64(seconds)))
        done = chunk.done
    if recorders:
        raise KeyboardInterrupt(f"{trials[0].file.stem} at step {done} of {steps}")


def _chunks(course: Course, group: _Group, carried: tuple[int, Any] | None, stop: Callable[[], bool]):
    """The chunks of a group, one way for all who train it."""
    steps = int(course.snapshots[-1])
    return group.train(
        steps=steps,
        snapshots=course.snapshots,
        observe=partial(_row, course),
        chunk=min(-(-steps // 10), course.checkpoint_every),
        carried=carried,
        stop=stop,
    )


def train_along(course: Course, trials: Sequence[Trial], crew: Crew, done: int, shared: Callable[[Any], Any]) -> None:
    """Train beside the process that runs the trials and keeps what comes of them.

    Args:
        course: what the trials share.
        trials: as that process has them.
        crew: likewise.
        done: steps, as its `begin` was told.
        shared: gives what is carried from there, when given the like.
    """
    group = _group(course, trials, crew.mesh)
    carried = (done, shared(group.begun())) if done else None
    for _ in _chunks(course, group, carried, lambda: crew.halted(False)):
        pass


def _row(course: Course, state, params):
    """What is kept at a snapshot."""
    ahead = {AHEAD: params} if course.lookahead else {}
    return course.deployed(state, params), {
        "restarts": course.restarts(state),
        **course.observe(state, params),
        **ahead,
    }


def _open(course: Course, trials: Sequence[Trial]) -> dict[int, Recorder]:
    """A recorder for each trial that is not done, with the start as its first row."""
    recorders = {}
    for i, trial in enumerate(trials):
        if not is_done(trial.file):
            state = course.optimizer(trial.learning_rate).init(trial.start)
            first = trial.start, _row(course, state, trial.start)[1]
            start, beside = jax.tree.map(lambda leaf: np.asarray(leaf)[None], first)
            beside = _with_measures(course, np.zeros(1, int), start, beside)
            recorders[i] = _begun(course, trial, start, beside)
            append_rows(recorders[i], np.zeros(1, int), start, **beside)
    return recorders


def _begun(course: Course, trial: Trial, start: Any, beside: dict[str, Any]) -> Recorder:
    like, more = jax.tree.map(lambda leaf: leaf[0], (start, beside))
    options = {"rows": len(course.snapshots) + 1, "resume": True}
    if course.projected is None:
        return open_recorder(trial.file, like, **options, **more)
    points = [name for name in more if name == AHEAD]
    more = {name: tree for name, tree in more.items() if name not in points}
    return open_projection(trial.file, course.projected.plane(trial.start), points=points, **options, **more)


def _with_measures(course: Course, steps: np.ndarray, points: Any, beside: dict[str, Any]) -> dict[str, Any]:
    """What is kept beside rows, and where their points are not kept what is measured there: NaN where nothing is."""
    if course.projected is None:
        return beside
    numbers = np.searchsorted(course.snapshots, steps, side="right")  # of the rows, of which the start is 0
    which = np.unique([*np.flatnonzero(numbers % course.projected.every == 0), len(steps) - 1])
    some, ahead = jax.tree.map(lambda leaf: leaf[which], (points, beside.get(AHEAD)))
    columns = {}
    for name, values in at_both(course.projected.measured, some, ahead).items():
        columns[name] = np.full(len(steps), np.nan)
        columns[name][which] = values
    return {**beside, MEASURES: columns}


def _newest(folder: Path, group: _Group, recorders: dict[int, Recorder], snapshots: np.ndarray):
    """The newest checkpoint that can be read and whose rows are all there, and the seconds that led to it."""

    def has_rows(step):
        needed = max(snapshots[snapshots <= step], default=0)
        return all(len(r.known) and r.known[-1] >= needed for r in recorders.values())

    if found := _checkpoint(folder, group, has_rows):
        step, (state, seconds) = found
        return (step, state), float(seconds)
    return None, 0.0


def _checkpoint(folder: Path, group: _Group, fits: Callable[[int], bool]) -> tuple[int, Any] | None:
    """The newest that can be read and whose step fits: what is carried, and the seconds that led to it."""
    for step, load in newest_first(folder, (group.begun(), np.float64(0))):
        if fits(step):
            try:
                state, seconds = load()
            except ValueError:
                continue  # the one before it, which is whole, leads to the same numbers
            return step, (jax.device_put(state), seconds)
    return None


def _keep(
    course: Course, trials: Sequence[Trial], recorders: dict[int, Recorder], chunk: Chunk, seconds: float
) -> None:
    """Append the rows of a chunk to the paths that are not done, and close those that now are."""
    if len(trials) == 1:
        observed, losses = jax.tree.map(lambda leaf: leaf[None], (chunk.observed, chunk.losses))
    else:
        observed, losses = chunk.observed, chunk.losses
    for i, recorder in list(recorders.items()):
        points, beside = jax.tree.map(lambda leaf, i=i: leaf[i], observed)
        seen = _seen(course, chunk, points, losses[i])
        steps, points, beside = jax.tree.map(lambda leaf, kept=seen.kept: leaf[kept], (chunk.steps, points, beside))
        if len(steps):
            append_rows(recorder, steps, points, **_with_measures(course, steps, points, beside))
        if seen.complete or seen.diverged is not None or chunk.done == course.snapshots[-1]:
            commit_rows(recorder)
            steps, restarts, _ = load_beside(trials[i].file, "restarts")
            marks = steps[1:][np.diff(restarts) > 0]
            facts = Facts(seconds, seen.diverged, int(restarts[-1]), marks.tolist())
            if seen.diverged is not None:
                recorder.final = None  # it may be of a chunk before this one, which a resumed run has not seen
            finish_recorder(recorder, **facts._asdict())
            del recorders[i]


class _Seen(NamedTuple):
    """What a chunk of a trial shows."""

    kept: np.ndarray  # which of its rows are the path's
    diverged: int | None
    complete: bool


def _seen(course: Course, chunk: Chunk, points, losses: np.ndarray) -> _Seen:
    """The loss is watched before each step, by its batch, and at each snapshot."""
    finite, steps = _finite(points), chunk.steps
    watched = np.asarray(course.watch(points)) if len(finite) else np.empty(0)
    before = chunk.done - len(losses) + np.arange(len(losses))
    lost = min([*before[~np.isfinite(losses)], *steps[~(finite & np.isfinite(watched))]], default=np.inf)
    within = finite & (watched <= (-np.inf if course.tolerance is None else course.tolerance))
    reached = min(steps[within], default=np.inf)
    # What comes after the first of the two is of no account: a chunk's end, at which it is seen, tells nothing.
    kept = finite & (steps <= min(lost, reached))
    return _Seen(kept, int(lost) if lost < reached else None, reached < np.inf and reached <= lost)


def _finite(points: Any) -> np.ndarray:
    """Which snapshots hold finite numbers alone; there may be no snapshot."""
    return np.all([np.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim))) for leaf in jax.tree.leaves(points)], axis=0)


@contextmanager
def _telling() -> Iterator[None]:
    """What the disk refuses, in words, and how to go on."""
    try:
        yield
    except ConnectionError:
        raise  # another process is lost, and the disk is all right
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error
        raise Refusal(
            f"{reason}\nwhat was committed before is whole; make room, or give access, and --resume"
        ) from error


@contextmanager
def _listening() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; the second time it ends the process at once."""
    heard = threading.Event()

    def hear(*_):
        heard.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.write(2, b"\nstopping after this chunk, which is kept; Ctrl-C again ends at once\n")

    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield heard.is_set
        return
    before = signal.signal(signal.SIGINT, hear)
    try:
        yield heard.is_set
    finally:
        signal.signal(signal.SIGINT, before)
