"""The table `[model]`."""

from typing import Annotated, Literal

from pydantic import Field

from nagviz.experiment.tables.values import Record


class Mlp(Record):
    """A network of dense layers."""

    kind: Literal["mlp"]
    hidden: Annotated[  # widths of the hidden layers
        tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(min_length=1, max_length=16)
    ]
