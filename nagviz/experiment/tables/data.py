"""The tables `[data]` and `[training]`."""

from typing import Annotated, Literal

from pydantic import Field

from nagviz.experiment.tables.values import Record


class Digits(Record):
    """The 1797 handwritten digits of 8 x 8 pixels that scikit-learn brings along."""

    kind: Literal["digits"]
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25  # kept out of the training
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of all samples, to choose learning rates by


class Training(Record):
    """How the data reach the optimizers."""

    batch_size: Annotated[int, Field(ge=1, le=2**24)]  # examples per step
