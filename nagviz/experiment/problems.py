"""What the optimizers of a run race on: a loss, a start, what is measured, and where it is cut."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz import landscape
from nagviz.experiment.choices import DATA, FUNCTIONS, Known, Rival, make_loss, make_model, make_rival
from nagviz.experiment.data import breast_cancer
from nagviz.experiment.models import QUANTITIES, SCORES, Model
from nagviz.experiment.own import require_trust
from nagviz.experiment.report import Refusal
from nagviz.experiment.tables.functions import Logistic, PlanarFunction
from nagviz.experiment.tables.runs import Config, DataRun, FunctionRun
from nagviz.experiment.training import Batches


class Problem(NamedTuple):
    """What the optimizers race on."""

    name: str
    start: Any  # parameters, shared by all
    loss: Callable[..., jax.Array]
    batches: Batches | None
    steps: int
    rivals: tuple[Rival, ...]
    measures: dict[str, Callable[[Any], jax.Array]]  # of parameters; the one to draw comes first
    quantity: str  # the loss on a slice, for a colour bar
    sliced: str = "loss"  # which measure that is
    statistics: str = "kept"  # of batch norm, on a slice: those of each batch, where there are any
    margin: float = 0.2  # around the paths on a slice, as a share of their extent
    space: tuple[landscape.Plane, list[tuple[float, float]]] | None = None  # the whole of it, and what to show of it
    tolerance: float | None = None  # of the first measure, at which a path is complete
    x64: bool = False  # whether it is worked on in float64

    def precision(self) -> AbstractContextManager:
        """In which to work on it."""
        return jax.enable_x64(True) if self.x64 else nullcontext()

    def files(self, folder: Path, number: int) -> list[Path]:
        """Where a run keeps the rivals' paths, if this is its problem of that number."""
        return [folder / "paths" / f"{number}-{i}.zarr" for i in range(len(self.rivals))]

    @property
    def data(self) -> list[Any] | None:
        """All samples as one batch, for what is worked out over them."""
        return None if self.batches is None else [self.batches.samples]


def make_problems(config: Config, *, trust: bool = False) -> list[Problem]:
    """The problems of a run.

    Args:
        config: a checked config.
        trust: whether code of the user's own that it names may be imported.

    Raises:
        Refusal: the config names such code without trust, does not fit the data, or a method what is known of a
            problem.
    """
    require_trust(own_code(config), trust)
    on_data = [_on_data(config)] if isinstance(config, DataRun) else []
    functions = (_convex if isinstance(f, Logistic) else _planar for f in config.functions)
    return [*(make(config, f) for make, f in zip(functions, config.functions, strict=True)), *on_data]


def own_code(config: Config) -> dict[str, str | None]:
    """The keys of a config that may name code of the user's own, and what they name."""
    if not isinstance(config, DataRun):
        return {}
    return {f"{key}.function": getattr(getattr(config, key), "function", None) for key in ("model", "loss")}


def _rivals(config: Config, learning_rates: dict[str, float], curvature=None, condition_number=None):
    """The optimizers, with what the problem knows; a rate of its own goes before theirs, and theirs before 1/L."""
    rivals = []
    for i, table in enumerate(config.optimizers):
        rate = learning_rates.get(table.name, table.learning_rate)
        try:
            rivals.append(make_rival(table, Known(1 / curvature if rate is None else rate, condition_number)))
        except ValueError as error:
            raise Refusal(f"optimizers.{i}: {error}") from None
    return tuple(rivals)


def _on_data(config: DataRun) -> Problem:
    try:
        samples = DATA[config.data.kind](config.data, config.seed)
    except ValueError as error:  # a share so small or large that a class is missing from a part
        raise Refusal(f"data.test_fraction: {error}") from None
    count, size, task = len(samples.train.inputs), config.training.batch_size, "classification"
    if size > count:
        raise Refusal(f"training.batch_size: must be at most the {count} training samples, got {size}")
    model = make_model(config.model, task, samples.train.inputs, samples.classes, config.seed)
    error, score = make_loss(config.loss, task, model, samples.train), SCORES[task]
    trained, tested = jax.device_put((samples.train, samples.test))

    def loss(params, batch):
        return error(model.apply(params, batch.inputs), batch.labels)

    def measure(params):
        return score.function(_evaluated(model, params, trained.inputs, size, tested.inputs), tested.labels)

    return Problem(
        name=config.data.kind,
        start=model.params,
        loss=loss,
        batches=Batches(trained, size, config.seed),
        steps=config.steps,
        rivals=_rivals(config, {}),
        measures={"train loss": partial(loss, batch=trained), score.name: measure},
        quantity=f"train {QUANTITIES[task] if config.loss is None else config.loss.function}, {count:,} samples",
        sliced="train loss",
        statistics="kept" if model.statistics is None else "batch",
        margin=config.slice.margin,
    )


def _evaluated(model: Model, params: Any, seen: jax.Array, size: int, inputs: jax.Array) -> jax.Array:
    """Outputs of other samples than those `seen`, of which batch norm has the statistics, by batches of a size."""
    if model.statistics is None:
        return model.apply(params, inputs)
    batches = [seen[i : i + size] for i in range(0, len(seen), size)]
    return model.apply_with(params, model.statistics(params, batches), inputs)


def _planar(config: FunctionRun, entry: PlanarFunction) -> Problem:
    surface = FUNCTIONS[entry.kind](entry)
    minima = jnp.asarray(surface.minima)
    axes = jnp.eye(2)

    def distance(params):
        return jnp.linalg.norm(minima - params, axis=1).min()

    return Problem(
        name=entry.name,
        start=jnp.asarray(entry.start, jnp.float32),
        loss=surface.function,
        batches=None,
        steps=entry.steps or config.steps,
        rivals=_rivals(config, entry.learning_rates, surface.curvature, surface.condition_number),
        measures={"loss": surface.function, "distance to minimum": distance},
        quantity="f(x, y)",
        space=(landscape.Plane(jnp.zeros(2), (axes[0], axes[1]), ("x", "y")), [entry.x, entry.y]),
    )


def _convex(config: FunctionRun, entry: Logistic) -> Problem:
    """In float64, since its lowest value is approached to ten digits."""
    with jax.enable_x64(True):
        surface = FUNCTIONS[entry.kind](entry)
        start, lowest = jnp.zeros(len(surface.minima[0])), surface.function(jnp.asarray(surface.minima[0]))
        height = float(surface.function(start) - lowest)
    floor = float(lowest)
    return Problem(
        name=entry.name,
        start=start,
        loss=surface.function,
        batches=None,
        steps=entry.steps or config.steps,
        rivals=_rivals(config, entry.learning_rates, surface.curvature, surface.condition_number),
        measures={"relative gap": lambda w: (surface.function(w) - floor) / height, "loss": surface.function},
        quantity=f"logistic loss, {len(breast_cancer().labels)} samples",
        margin=entry.margin,
        tolerance=entry.tolerance,
        x64=True,
    )


# Given, not measured: the same slice comes out every time, and no clock has a say in it.
_EFFORT = landscape.Effort(samples=2048, points=64, way="map", linear=True)


def cut(problem: Problem, plane: landscape.Plane, ranges, grid: int, **options: Any) -> landscape.Slice:
    """The problem's loss on a plane.

    Args:
        problem: what is evaluated.
        plane: where.
        ranges: the ends of x and y.
        grid: points on each side.
        options: further ones of `evaluate`, such as `report` and `store`.
    """
    x, y = (np.linspace(*ends, grid) for ends in ranges)
    effort = _EFFORT if problem.statistics == "kept" else _EFFORT._replace(samples=None)  # such a batch is not cut
    return landscape.evaluate(
        problem.loss,
        plane,
        x,
        y,
        batches=problem.data,
        quantity=problem.quantity,
        statistics=problem.statistics,
        effort=effort,
        **options,
    )


def window(points: np.ndarray, margin: float) -> list[tuple[float, float]]:
    """Ends of x and y that hold the points with a margin; no side under 0.6 of the other, none of no length."""
    low, high = points.min(0), points.max(0)
    halves = (high - low) * (0.5 + margin)
    halves = np.maximum(halves, 0.6 * halves.max() or 1.0)
    middle = (low + high) / 2
    return list(zip((middle - halves).tolist(), (middle + halves).tolist(), strict=True))
