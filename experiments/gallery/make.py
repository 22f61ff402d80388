"""Make the gallery: run the shipped experiments, draw, and write the pictures beside this file.

    python experiments/gallery/make.py                        # about eight minutes of two cores
    python experiments/gallery/make.py --runs runs            # draws finished runs there again, runs what is missing
    python experiments/gallery/make.py --reduced --out DIR    # a few steps of each, in seconds

The same runs give the same bytes: colours are brought down to a palette, which keeps each file under 300 kB and the
inks of paths as they are.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

import nagviz as nv
from nagviz.experiment.anatomy import dissect
from nagviz.experiment.config import load
from nagviz.experiment.drawing import FIGURES
from nagviz.experiment.pipeline import run
from nagviz.figures.palettes import packed, palette

HERE = Path(__file__).parent
LIMIT = 300_000  # bytes of a file
COLORS = 256
WIDE, DOTS = 5.0, 1600  # inches, and dots across a figure wider than these


class Shown(NamedTuple):
    """A picture of a run."""

    experiment: str  # the file in experiments/
    draw: Callable[[Path], nv.figures.Figure]  # of the run's folder
    reduced: Sequence[str] = ()  # keys set over the experiment's, for a run of seconds


def main() -> None:
    words = argparse.ArgumentParser(description="Make the gallery.")
    words.add_argument("--out", type=Path, default=HERE, help="where to write (default: beside this file)")
    words.add_argument("--runs", type=Path, help="where the runs are, or are to be kept (default: nowhere)")
    words.add_argument("--reduced", action="store_true", help="run a few steps of each only")
    words.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(['emblem', *SHOWN])} (default: all)")
    args = words.parse_args()
    if unknown := {*args.names} - {"emblem", *SHOWN}:
        words.error(f"no picture is named {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as nowhere:
        make(args.out, args.runs or Path(nowhere), args.names or ["emblem", *SHOWN], reduced=args.reduced)


def make(out: Path, runs: Path, names: Sequence[str], *, reduced: bool = False) -> None:
    """Write pictures.

    Args:
        out: the folder to write into.
        runs: the folder of the runs; those that are finished there are drawn again.
        names: of the pictures.
        reduced: whether a few steps of each experiment are enough.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name == "emblem":
            figure = emblem()
            figure.savefig(out / "emblem.svg")
        else:
            shown = SHOWN[name]
            figure = shown.draw(_ran(shown, runs, reduced))
        _write(figure, out / f"{name}.png")
    for file in (out / f"{name}.{suffix}" for name in names for suffix in ("png", "svg")):
        if file.is_file() and file.stat().st_size > LIMIT:
            raise SystemExit(f"{file} has {file.stat().st_size} bytes, more than {LIMIT}")


def _ran(shown: Shown, runs: Path, reduced: bool) -> Path:
    """The folder of a finished run."""
    folder = runs / shown.experiment
    if not (folder / "results.csv").is_file():
        config = load(HERE.parent / f"{shown.experiment}.toml", shown.reduced if reduced else ())
        run(config, folder, resume=folder.exists())
    return folder


def _write(figure: nv.figures.Figure, file: Path) -> None:
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS / figure.get_figwidth() if figure.get_figwidth() > WIDE else None)
    with Image.open(drawn) as image:
        pixels = packed(np.asarray(image.convert("RGB")))
        colors = palette(pixels, nv.figures.style.INKS, COLORS)
        few = Image.fromarray(colors.indexed(pixels), "P")
        few.putpalette(colors.flat)
        few.save(file, optimize=True, dpi=image.info["dpi"])
    print(file, file.stat().st_size)


def emblem() -> nv.figures.Figure:
    """The sixteenth step of Nesterov's method in a bent valley, where each of the three methods goes its own way."""

    def valley(w):
        return (1 - w[0]) ** 2 / 2 + 4 * (w[1] - w[0] ** 2 / 2) ** 2 + 0.03 * w[1] ** 2

    with jax.enable_x64(True):
        optimizer, params = nv.nag(0.06, momentum=0.8), jnp.array([-1.2, -0.6])
        state, gradient = optimizer.init(params), jax.jit(jax.grad(valley))
        for _ in range(15):
            updates, state = optimizer.update(gradient(params), state, params)
            params = optax.apply_updates(params, updates)
        return nv.figures.step(dissect(valley, optimizer, state, params, quantity="a bent valley f"))


def drawn(name: str, **ways) -> Callable[[Path], nv.figures.Figure]:
    """A figure that `nagviz figure RUN NAME` draws."""
    return lambda folder: FIGURES[name].draw(folder, ways)


def by_momentum(folder: Path) -> nv.figures.Figure:
    """The table of the autoencoder, as curves."""
    with (folder / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    maxima = [name for name in rows[0] if name != "kind" and "±" not in name]
    across = np.arange(1.0, len(maxima) + 1)
    names = {"nag": "NAG", "heavy_ball": "heavy ball"}
    series = {names[row["kind"]]: (across, np.array([float(row[name]) for name in maxima])) for row in rows}
    figure = nv.figures.curves({"test error": series}, across="largest momentum", width=nv.figures.COLUMN)
    figure.axes[0].set_xscale("linear")  # of places in the table, not of momenta
    figure.axes[0].set_xticks(across, maxima)
    return figure


def _two(*more: str) -> str:
    """An override: NAG and heavy ball in place of an experiment's optimizers."""
    tables = (", ".join((f'kind = "{kind}"', "learning_rate = 1e-3", *more)) for kind in ("nag", "heavy_ball"))
    return f"optimizers=[{', '.join(f'{{ {table} }}' for table in tables)}]"


SHORT = ("steps=4", "every=2", "measure_every=1", "slice.grid=5")  # of an experiment, for its reduced form
BEALE = "functions=[{ kind = 'beale', start = [1.0, 1.5], x = [-0.5, 4.0], y = [-2.0, 2.0] }]"
PLANAR = ("steps=4", "slice.grid=5", BEALE, _two())
SHOWN = {
    "digits": Shown("digits", drawn("landscape"), (*SHORT, _two())),
    "family": Shown("family", drawn("family"), ("functions.0.steps=4", "optimizers.12.steps=2", *SHORT)),
    "field": Shown("rosenbrock", drawn("field", problem="beale"), PLANAR),
    "rosenbrock": Shown("rosenbrock", drawn("landscape"), PLANAR),
    "surface": Shown("article", drawn("surface"), (*SHORT, "seeds=1", _two())),
    "sharpness": Shown("sharpness", drawn("sharpness"), (*SHORT, "sharpness.every=2")),
    "autoencoder": Shown(
        "autoencoder",
        by_momentum,
        (*SHORT, "seeds=1", _two('schedule = { kind = "sutskever", maximum = 0.9, period = 2 }')),
    ),
}

if __name__ == "__main__":
    main()
