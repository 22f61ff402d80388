"""The tables `[[sinks]]`: where else what was measured goes."""

from typing import Literal

from nagviz.experiment.tables.values import Label, Record


class TensorBoard(Record):
    """Event files in the run's folder, for TensorBoard."""

    kind: Literal["tensorboard"]


class Wandb(Record):
    """A run of Weights & Biases for each optimizer, in one group."""

    kind: Literal["wandb"]
    project: Label = "nagviz"
    mode: Literal["offline", "online"] = "offline"  # kept in the run's folder for `wandb sync`, or sent at once


class Trackio(Record):
    """A run of trackio for each optimizer, in one group, in trackio's own folder on this machine."""

    kind: Literal["trackio"]
    project: Label = "nagviz"


Sink = TensorBoard | Wandb | Trackio
