"""The file as a whole."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from nagviz.experiment.tables.data import Digits, Training
from nagviz.experiment.tables.functions import TestFunction
from nagviz.experiment.tables.models import Mlp
from nagviz.experiment.tables.optimizers import Optimizer
from nagviz.experiment.tables.sinks import Sink
from nagviz.experiment.tables.values import Count, FolderName, Margin, Record, Side


class Pca(Record):
    """The plane of the two principal components of all paths."""

    kind: Literal["pca"]


class Grid(Record):
    """How finely the loss is drawn."""

    grid: Side = 51


class Slice(Grid):
    """How finely and how widely the loss is drawn around the paths."""

    margin: Margin = 0.2


class Family(Record):
    """The map of the look-ahead family, with this run's methods on it."""

    condition_number: Annotated[float, Field(gt=1)]


class Run(Record):
    """What all runs have."""

    question: SkipJsonSchema[str] = ""  # the comment on the file's first line; not a key
    name: FolderName  # the run's folder is runs/NAME
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    steps: Count  # of each optimizer
    every: Count = 1  # steps between two snapshots of a path; divides the steps
    slice: Grid = Grid()
    family: Family | None = None
    optimizers: Annotated[tuple[Annotated[Optimizer, Field(discriminator="kind")], ...], Field(min_length=1)]
    sinks: tuple[Annotated[Sink, Field(discriminator="kind")], ...] = ()  # besides the run's folder


Functions = tuple[Annotated[TestFunction, Field(discriminator="kind")], ...]


class DataRun(Run):
    """Optimizers train a model on data; the plane is cut through what they found. Functions may go before."""

    data: Digits
    model: Mlp
    training: Training
    plane: Pca = Pca(kind="pca")
    slice: Slice = Slice()
    functions: Functions = ()


class FunctionRun(Run):
    """Optimizers descend functions; the plane of a function of two parameters is the whole space."""

    functions: Annotated[Functions, Field(min_length=1)]


Config = DataRun | FunctionRun
