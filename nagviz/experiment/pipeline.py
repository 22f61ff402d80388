"""From a config to a run: data and model to loss, optimizers to paths, paths to a plane, a plane to figures.

The one place where a name in a config becomes a function, and where the other rooms meet.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nagviz import figures, landscape, optim
from nagviz.experiment import config as configs
from nagviz.experiment import data, models, report
from nagviz.experiment.report import Refusal
from nagviz.experiment.training import Batches, train


class Rival(NamedTuple):
    """An optimizer of a race."""

    name: str
    optimizer: optax.GradientTransformation
    deployed: Callable[[optax.OptState, Any], Any]  # state, params -> the point that is evaluated


class Problem(NamedTuple):
    """What the optimizers race on."""

    name: str
    start: Any  # parameters, shared by all
    loss: Callable[..., jax.Array]
    batches: Batches | None
    steps: int
    rivals: tuple[Rival, ...]
    measures: dict[str, Callable[[Any], jax.Array]]  # of parameters; the loss comes first
    cut: Callable[[Sequence[landscape.Trajectory], Callable], tuple[landscape.Plane, landscape.Slice]]


class Outcome(NamedTuple):
    """What an optimizer did."""

    rival: str
    path: landscape.Trajectory  # finite snapshots of the deployed point, the start first
    measures: dict[str, np.ndarray]  # (snapshots,) each
    seconds: float  # of training, without compilation
    diverged: int | None  # the step at which the loss was no longer finite


def _at_params(state, params):
    del state
    return params


OPTIMIZERS = {
    "sgd": (lambda c: optax.sgd(c.learning_rate), _at_params),
    "heavy_ball": (lambda c: optax.sgd(c.learning_rate, c.momentum), _at_params),
    "nag": (lambda c: optim.nag(c.learning_rate, c.momentum), optim.iterate),
    "adam": (lambda c: optax.adam(c.learning_rate, c.b1, c.b2, c.eps), _at_params),
    "adagrad": (
        lambda c: optax.adagrad(c.learning_rate, c.initial_accumulator_value, c.eps),
        _at_params,
    ),
}
DATA = {"digits": lambda c, seed: data.digits(c.test_fraction, seed)}
MODELS = {"mlp": lambda c, ends, seed: models.mlp((ends[0], *c.hidden, ends[1]), seed)}
FUNCTIONS = {
    "rosenbrock": lambda c: models.rosenbrock(),
    "beale": lambda c: models.beale(),
    "quadratic": lambda c: models.quadratic(c.condition_number),
    "rastrigin": lambda c: models.rastrigin(),
}


def run(config: configs.Config, folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Carry out a run: train, cut, draw, and write it all under a folder; print the results table.

    Args:
        config: a checked config.
        folder: where to write.
        resume: go on with a run of the same config; paths that are complete are not trained again.
        overwrite: delete an earlier run there first.

    Raises:
        Refusal: the config does not fit the data, or the folder is not free; nothing was written.
    """
    problems = _problems(config)
    report.start_folder(folder, configs.dump(config), resume=resume, overwrite=overwrite)
    work = sum(p.steps * len(p.rivals) for p in problems)
    with report.progress(work + len(problems) * config.slice.grid) as advance:
        races = []
        for number, problem in enumerate(problems):
            files = [folder / "paths" / f"{number}-{i}.zarr" for i in range(len(problem.rivals))]
            races.append(_race(problem, config.every, files, advance))
        panels = _panels(problems, races, folder / "slices", advance)
    _write(folder, problems, races, panels)


def _problems(config: configs.Config) -> list[Problem]:
    if isinstance(config, configs.FunctionRun):
        return [_function(config, function) for function in config.functions]
    return [_classification(config)]


def _rivals(config: configs.Config, learning_rates: dict[str, float]) -> tuple[Rival, ...]:
    rivals = []
    for entry in config.optimizers:
        make, deployed = OPTIMIZERS[entry.kind]
        rate = learning_rates.get(entry.name, entry.learning_rate)
        rivals.append(Rival(entry.name, make(entry.model_copy(update={"learning_rate": rate})), deployed))
    return tuple(rivals)


def _classification(config: configs.DataRun) -> Problem:
    samples = DATA[config.data.kind](config.data, config.seed)
    count, features = samples.train.inputs.shape
    if config.training.batch_size > count:
        raise Refusal(
            f"training.batch_size: must be at most the {count} training samples, got {config.training.batch_size}"
        )
    model = MODELS[config.model.kind](config.model, (features, samples.classes), config.seed)
    trained, tested = jax.device_put((samples.train, samples.test))

    def loss(params, batch):
        logits = model.apply(params, batch.inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()

    def accuracy(params):
        return (model.apply(params, tested.inputs).argmax(-1) == tested.labels).mean()

    quantity = f"train cross entropy, {count:,} samples"
    return Problem(
        name=config.name,
        start=model.params,
        loss=loss,
        batches=Batches(trained, config.training.batch_size, config.seed),
        steps=config.steps,
        rivals=_rivals(config, {}),
        measures={"train loss": partial(loss, batch=trained), "test accuracy": accuracy},
        cut=partial(_cut_through_paths, loss, trained, config.slice, quantity),
    )


def _cut_through_paths(loss, batch, grid, quantity, paths, advance):
    plane = landscape.pca_plane(*paths)
    seen = np.concatenate([landscape.project(plane, path).coordinates for path in paths])
    x, y = (np.linspace(*ends, grid.grid) for ends in _ranges(seen, grid.margin))
    cut = landscape.evaluate(loss, plane, x, y, batches=[batch], quantity=quantity, report=advance)
    return plane, cut


def _ranges(points: np.ndarray, margin: float) -> list[tuple[float, float]]:
    """Ends of x and y that hold the points with a margin; no side under 0.6 of the other."""
    low, high = points.min(0), points.max(0)
    halves = (high - low) * (0.5 + margin)
    halves = np.maximum(halves, 0.6 * halves.max())
    middle = (low + high) / 2
    return list(zip((middle - halves).tolist(), (middle + halves).tolist(), strict=True))


def _function(config: configs.FunctionRun, entry: configs.TestFunction) -> Problem:
    surface = FUNCTIONS[entry.kind](entry)
    minima = jnp.asarray(surface.minima)
    axes = jnp.eye(2)
    plane = landscape.Plane(jnp.zeros(2), (axes[0], axes[1]), ("x", "y"))

    def distance(params):
        return jnp.linalg.norm(minima - params, axis=1).min()

    def cut(paths, advance):
        del paths
        x, y = (np.linspace(*ends, config.slice.grid) for ends in (entry.x, entry.y))
        return plane, landscape.evaluate(surface.function, plane, x, y, quantity="f(x, y)", report=advance)

    return Problem(
        name=entry.name,
        start=jnp.asarray(entry.start, jnp.float32),
        loss=surface.function,
        batches=None,
        steps=entry.steps or config.steps,
        rivals=_rivals(config, entry.learning_rates),
        measures={"loss": surface.function, "distance to minimum": distance},
        cut=cut,
    )


def _race(problem: Problem, every: int, files: Sequence[Path], advance) -> list[Outcome]:
    measure = jax.jit(partial(jax.lax.map, lambda p: [of(p) for of in problem.measures.values()]))
    outcomes = []
    for rival, file in zip(problem.rivals, files, strict=True):
        task = f"{problem.name}: {rival.name}"
        if file.exists():
            advance(f"{task} (kept)", problem.steps)
        else:
            _train(problem, rival, every, file, partial(advance, task))
        path, facts = landscape.load_trajectory(file, problem.start)
        diverged = int(facts["diverged"]) if facts["diverged"] >= 0 else None
        measured = dict(zip(problem.measures, jax.device_get(measure(path.params)), strict=True))
        outcomes.append(Outcome(rival.name, path, measured, facts["seconds"], diverged))
    return outcomes


def _train(problem: Problem, rival: Rival, every: int, file: Path, advance) -> None:
    """Train one rival and keep its path, as far as it is finite."""
    advance(0)
    steps, points = [np.zeros(1, int)], [jax.tree.map(lambda leaf: np.asarray(leaf)[None], problem.start)]
    seconds, diverged = 0.0, None
    chunks = train(
        problem.loss,
        problem.start,
        rival.optimizer,
        steps=problem.steps,
        every=every,
        batches=problem.batches,
        observe=rival.deployed,
    )
    for chunk in chunks:
        done = int(steps[-1][-1])
        steps.append(chunk.steps)
        points.append(chunk.params)
        seconds += chunk.seconds
        advance(len(chunk.losses))
        if not np.all(np.isfinite(chunk.losses)):
            diverged = done + int(np.argmin(np.isfinite(chunk.losses)))
            print(f"{problem.name}: {rival.name} diverged at step {diverged}", file=sys.stderr)
            advance(problem.steps - int(chunk.steps[-1]))
            break
    path = landscape.Trajectory(np.concatenate(steps), jax.tree.map(lambda *p: np.concatenate(p), *points))
    finite = _finite(path)
    if diverged is None and not finite.all():
        diverged = problem.steps
    kept = jax.tree.map(lambda leaf: leaf[finite], path)
    landscape.save_trajectory(file, kept, seconds=seconds, diverged=-1 if diverged is None else diverged)


def _finite(path: landscape.Trajectory) -> np.ndarray:
    """Which snapshots hold finite numbers alone."""
    leaves = (np.asarray(leaf) for leaf in jax.tree.leaves(path.params))
    rows = [np.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1) for leaf in leaves]
    return np.all(rows, axis=0)


def _panels(problems, races, folder: Path, advance) -> dict[str, tuple]:
    """Slice and projected paths of every problem; only paths that stayed finite are cut through."""
    panels = {}
    for number, (problem, race) in enumerate(zip(problems, races, strict=True)):
        paths = {o.rival: o.path for o in race if o.diverged is None}
        if not paths:
            print(f"{problem.name}: every optimizer diverged, there is no path to draw", file=sys.stderr)
            continue
        plane, cut = problem.cut(list(paths.values()), partial(_row_done, advance, f"{problem.name}: slice"))
        seen = {name: landscape.project(plane, path) for name, path in paths.items()}
        landscape.save_slice(folder / f"{number}.zarr", cut)
        panels[problem.name] = (cut, seen)
    return panels


def _row_done(advance, task: str, done: int, total: int) -> None:
    del done, total
    advance(task, 1)


def _write(folder: Path, problems, races, panels) -> None:
    """Metrics, tables and figures; the table is printed too."""
    report.write(folder / "metrics.jsonl", report.jsonl(_metric_rows(problems, races)))
    rows = _result_rows(problems, races)
    report.write(folder / "results.csv", report.comma_separated(rows))
    report.write(folder / "results.md", report.markdown(rows) + "\n")
    _figures(folder, problems, races, panels)
    report.show(rows)
    print(f"\n{folder}", flush=True)


def _named(problems, problem) -> dict[str, str]:
    """The problem's name, where a run has several."""
    return {"function": problem.name} if len(problems) > 1 else {}


def _metric_rows(problems, races):
    for problem, race in zip(problems, races, strict=True):
        for outcome in race:
            for i, step in enumerate(outcome.path.steps.tolist()):
                values = {name: float(series[i]) for name, series in outcome.measures.items()}
                yield {**_named(problems, problem), "optimizer": outcome.rival, "step": step, **values}


def _result_rows(problems, races) -> list[report.Row]:
    rows = []
    for problem, race in zip(problems, races, strict=True):
        for outcome in race:
            lost = outcome.diverged is not None
            final = {k: math.nan if lost else float(v[-1]) for k, v in outcome.measures.items()}
            note = f"diverged at step {outcome.diverged}" if lost else ""
            rows.append(
                {
                    **_named(problems, problem),
                    "optimizer": outcome.rival,
                    **final,
                    "seconds": round(outcome.seconds, 3),
                    "note": note,
                }
            )
    return rows


def _figures(folder: Path, problems, races, panels) -> None:
    curves = {}
    for problem, race in zip(problems, races, strict=True):
        shown = list(race[0].measures)[: 1 if len(problems) > 1 else None]
        for name in shown:
            title = problem.name if len(problems) > 1 else name
            curves[title] = {o.rival: (o.path.steps, o.measures[name]) for o in race}
    drawn = {"curves.png": figures.curves(curves)}
    if panels:
        lost = [f"{o.rival} diverged at step {o.diverged}" for race in races for o in race if o.diverged is not None]
        if len(problems) == 1:
            (cut, paths), note = next(iter(panels.values())), "; ".join(lost)
            landscape_figure = figures.landscape(cut, paths, note=f"{note} and is not drawn" if note else None)
        else:
            landscape_figure = figures.landscapes(panels)
        drawn |= {"landscape.png": landscape_figure, "landscape.pdf": landscape_figure}
    for name, figure in drawn.items():
        figure.savefig(folder / name)
