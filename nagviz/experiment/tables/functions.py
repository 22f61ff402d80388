"""The tables `[[functions]]`."""

from typing import Annotated, Literal

from pydantic import Field

from nagviz.experiment.tables.values import Count, Label, Margin, Positive, Range, Record


class Function(Record):
    """What all functions have."""

    kind: str
    name: Label  # in figures and tables; unique in a run
    steps: Count | None = None  # instead of the run's
    learning_rates: dict[str, Positive] = Field(default_factory=dict)  # instead of the optimizers' own, by their names


class PlanarFunction(Function):
    """What all functions of two parameters have."""

    start: tuple[float, float]  # where every path begins
    x: Range  # drawn, first parameter
    y: Range  # drawn, second parameter


class Rosenbrock(PlanarFunction):
    """A curved valley."""

    kind: Literal["rosenbrock"]
    name: Label = "rosenbrock"


class Beale(PlanarFunction):
    """A flat floor between steep corners."""

    kind: Literal["beale"]
    name: Label = "beale"


class Quadratic(PlanarFunction):
    """A bowl, `condition_number` times steeper across than along."""

    kind: Literal["quadratic"]
    name: Label = "quadratic"
    condition_number: Annotated[float, Field(ge=1)] = 100.0


class Rastrigin(PlanarFunction):
    """A bowl full of dimples."""

    kind: Literal["rastrigin"]
    name: Label = "rastrigin"


class Logistic(Function):
    """Logistic regression on scikit-learn's breast cancer data, standardised, with a bias: 31 parameters from 0."""

    kind: Literal["logistic"]
    name: Label = "logistic regression"
    ridge: Positive  # weight of half the squared length
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None  # of the relative gap, where a path is complete
    margin: Margin = 0.2


TestFunction = Rosenbrock | Beale | Quadratic | Rastrigin | Logistic
