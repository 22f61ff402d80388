"""The file as a whole."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from nagviz.experiment.tables.data import Data, Training
from nagviz.experiment.tables.functions import TestFunction
from nagviz.experiment.tables.models import Model, OwnLoss
from nagviz.experiment.tables.optimizers import Optimizer
from nagviz.experiment.tables.sinks import Sink
from nagviz.experiment.tables.values import Count, FolderName, Label, Margin, Positive, Record, Side, Sizes


class Pca(Record):
    """The plane of the two principal components of all paths."""

    kind: Literal["pca"]
    reach: Positive | None = None  # from the origin to each side; by default as far as the paths go


class Around(Pca):
    """What the planes have that stand at the end of a path."""

    around: Label | None = None  # the name of an optimizer; by default the first


class Random(Around):
    """Two filter-normalised Gaussian directions; by default as far as a filter is long."""

    kind: Literal["random"]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class Hessian(Random):
    """The eigenvectors of the two largest curvatures."""

    kind: Literal["hessian"]


class Points(Around):
    """Through the ends of three paths, that of `around` first."""

    kind: Literal["points"]


Plane = Pca | Random | Hessian | Points


class Projection(Record):
    """Of a path is kept where it lies in the plane of two filter-normalised directions through its start, no points."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # of the directions


class Grid(Record):
    """How finely the loss is drawn."""

    grid: Side = 51


class Slice(Grid):
    """How finely and how widely the loss is drawn around the paths."""

    margin: Margin = 0.2
    samples: Count | None = None  # the first of the training samples, whose loss is drawn; all if left out


class Family(Record):
    """The map of the look-ahead family, with this run's methods on it."""

    condition_number: Annotated[float, Field(gt=1)]


class Table(Record):
    """What came of the optimizers, by two of their keys, as `kind` and `schedule.maximum`."""

    rows: Annotated[str, Field(min_length=1, max_length=200)]
    columns: Annotated[str, Field(min_length=1, max_length=200)]
    measure: Label | None = None  # in the cells; by default the last column of the results that is measured


class Noise(Record):
    """The exact law of noise that grows with the gradient, on a quadratic."""

    condition_number: Annotated[float, Field(gt=1, le=1e8)] = 100.0
    sigmas: Sizes  # of the noise, as shares of the gradient


class Sharpness(Record):
    """The largest eigenvalues of the Hessian along the paths, under the limit that each method bears."""

    every: Count  # steps between two points; a multiple of the run's `every`
    count: Annotated[int, Field(ge=1, le=16)] = 1  # eigenvalues at each


Observed = Literal["loss at y", "gradient norm", "angle", "momentum", "learning rate"]


class Run(Record):
    """What all runs have."""

    question: SkipJsonSchema[str] = ""  # the comment on the file's first line; not a key
    expected: SkipJsonSchema[str] = ""  # the one on its last line, if that is another; not a key
    name: FolderName  # the run's folder is runs/NAME
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # of the data's split, and of the first trial
    seeds: Annotated[int, Field(ge=1, le=1000)] = 1  # trials of each optimizer: seed, seed + 1, ...
    steps: Count  # of each optimizer
    every: Count = 1  # steps between two snapshots of a path; divides the steps
    # In place of every: so many snapshots, the start among them, as evenly spaced in the logarithm of the step as
    # whole numbers can be.
    snapshots: Annotated[int, Field(ge=2)] | None = None
    lookahead: bool = False  # whether a path keeps the look-ahead point y beside the point that is deployed
    checkpoint_every: Count = 1000  # steps between two states that --resume goes on from, at least
    measure_every: Count = 1  # snapshots between two that are measured; the first and the last are in any case
    # At every snapshot, of the method and of the loss of at most 256 samples; the angle is between look-ahead and step.
    observe: tuple[Observed, ...] = ()
    slice: Grid = Grid()
    family: Family | None = None
    table: Table | None = None
    noise: Noise | None = None
    optimizers: Annotated[tuple[Annotated[Optimizer, Field(discriminator="kind")], ...], Field(min_length=1)]
    sinks: tuple[Annotated[Sink, Field(discriminator="kind")], ...] = ()  # besides the run's folder


Functions = tuple[Annotated[TestFunction, Field(discriminator="kind")], ...]


class DataRun(Run):
    """Optimizers train a model on data; the plane is cut through what they found. Functions may go before."""

    data: Annotated[Data, Field(discriminator="kind")]
    model: Annotated[Model, Field(discriminator="kind")]
    training: Training
    sharpness: Sharpness | None = None
    loss: OwnLoss | None = None  # in place of the task's
    plane: Annotated[Plane, Field(discriminator="kind")] = Pca(kind="pca")
    projection: Projection | None = None  # in place of the plane
    slice: Slice = Slice()
    functions: Functions = ()


class FunctionRun(Run):
    """Optimizers descend functions; the plane of a function of two parameters is the whole space."""

    functions: Annotated[Functions, Field(min_length=1)]


Config = DataRun | FunctionRun

ON_DATA = DataRun.model_fields.keys() - Run.model_fields.keys() - {"functions"}
OWN = ON_DATA | {"functions"}  # the keys that tell the forms of run apart
