"""Where else what was measured goes: TensorBoard, Weights & Biases, trackio. Each is imported only when it is named.

A sink is given all rows of a run at its end, and all of them again when the run is resumed.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, redirect_stdout
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nagviz.experiment.report import ABOUT, Refusal, Row
from nagviz.experiment.tables.runs import Run
from nagviz.experiment.tables.sinks import TensorBoard, Trackio, Wandb

Log = Callable[[str, int, Mapping[str, float]], None]  # rival, step, what was measured there
PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "trackio": "trackio"}


def require_sinks(config: Run) -> None:
    """See to it, before any work, that the packages of the sinks are there.

    Raises:
        Refusal: one is not installed.
    """
    for i, table in enumerate(config.sinks):
        package = PACKAGES[table.kind]
        if find_spec(package) is None:
            raise Refusal(
                f"sinks.{i}: {table.kind} needs the package {package}, which is not installed: pip install {package}"
            )


@contextmanager
def open_sinks(config: Run, folder: Path) -> Iterator[Log]:
    """Open the sinks of a config; they are closed at the end, whatever happened.

    Args:
        config: of the run.
        folder: of the run.

    Yields:
        A function of a rival's name, a step, and numbers by name, for each sink to take down; steps of one rival
        increase.
    """
    with ExitStack() as stack:
        logs = [stack.enter_context(_SINKS[table.kind](table, config, folder)) for table in config.sinks]

        def log(rival: str, step: int, values: Mapping[str, float]) -> None:
            for each in logs:
                each(rival, step, values)

        yield log


def send(config: Run, folder: Path, rows: Sequence[Row]) -> None:
    """Give the rows of a finished run to its sinks.

    Args:
        config: of the run.
        folder: of the run.
        rows: those of `metrics.jsonl`.

    Raises:
        Refusal: a sink failed, such as one that is not logged in.
    """
    if not config.sinks:
        return
    name = _namer(rows)
    try:
        with redirect_stdout(sys.stderr), open_sinks(config, folder) as log:  # stdout is for the table of results
            for row in rows:
                log(name(row), row["step"], {key: value for key, value in row.items() if key not in ABOUT})
    except Exception as error:  # whatever the packages raise
        raise Refusal(
            f"sinks: {type(error).__name__}: {error}; the files in {folder} are whole, --resume sends them again"
        ) from error


def _namer(rows: Sequence[Row]) -> Callable[[Row], str]:
    """What tells a row's trial from the others: its optimizer, and what else has several values."""
    keys = {key: {row.get(key) for row in rows} for key in ("problem", "learning_rate", "seed")}
    several = [key for key, values in keys.items() if len(values) > 1]
    said = {"problem": "on {}", "learning_rate": "at {}", "seed": "seed {}"}
    return lambda row: ", ".join([row["optimizer"], *(said[key].format(row[key]) for key in several if key in row)])


@contextmanager
def _tensorboard(table: TensorBoard, config: Run, folder: Path) -> Iterator[Log]:
    """A folder for each rival, which TensorBoard takes for a run of that name."""
    del table, config
    from tensorboardX import SummaryWriter

    root = folder / "tensorboard"
    shutil.rmtree(root, ignore_errors=True)  # what is there is logged again
    taken: set[str] = set()
    with ExitStack() as stack:

        @cache
        def writer(rival: str) -> SummaryWriter:
            name = re.sub(r"[^\w.=+-]+", "_", rival).strip(".") or "_"
            while name in taken:
                name += "_"
            taken.add(name)
            return stack.enter_context(closing(SummaryWriter(str(root / name))))

        def log(rival, step, values):
            for name, value in values.items():
                writer(rival).add_scalar(re.sub(r"[^\w./-]", "_", name), value, step)

        yield log


def _wandb(table: Wandb, config: Run, folder: Path) -> AbstractContextManager[Log]:
    import wandb

    def begun(rival: str, stack: ExitStack) -> wandb.Run:
        made = wandb.init(
            project=table.project,
            group=config.name,
            name=rival,
            dir=folder,
            mode=table.mode,
            config=config.model_dump(mode="json"),
            reinit="create_new",
        )
        stack.push(lambda kind, *_: made.finish(exit_code=int(kind is not None)))
        return made

    return _logging(begun)


def _trackio(table: Trackio, config: Run, folder: Path) -> AbstractContextManager[Log]:
    del folder
    import trackio

    def begun(rival: str, stack: ExitStack) -> trackio.Run:
        made = trackio.init(
            project=table.project,
            group=config.name,
            name=f"{config.name}: {rival}",
            config=config.model_dump(mode="json"),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        stack.callback(made.finish)
        return made

    return _logging(begun)


@contextmanager
def _logging(begun: Callable[[str, ExitStack], Any]) -> Iterator[Log]:
    """Runs that are begun, each when its rival first has something to log; they are finished by the stack."""
    with ExitStack() as stack:
        run = cache(lambda rival: begun(rival, stack))
        yield lambda rival, step, values: run(rival).log(dict(values), step=step)


_SINKS = {"tensorboard": _tensorboard, "wandb": _wandb, "trackio": _trackio}
