"""Figures of a run, drawn from what its folder keeps: numbers first, ink last.

A run writes its numbers and draws them through here; `nagviz figure` draws them once more, without training.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from nagviz import figures
from nagviz.experiment import report
from nagviz.experiment.ahead import lookaheads
from nagviz.experiment.config import load
from nagviz.experiment.noise import METHODS, largest_noise, nesterov
from nagviz.experiment.observing import DEGREES, LABELS, ON_DEVICE
from nagviz.experiment.report import ABOUT, FORMATS, Refusal, Row
from nagviz.experiment.summary import FORMATS as TELLINGS
from nagviz.experiment.summary import Summary, summarise
from nagviz.experiment.tables.runs import Config
from nagviz.landscape import Projection, Slice, arrays, load_slice, save_slice, save_vts

Ways = Mapping[str, Any]  # of drawing: width, in inches, and what a figure takes besides
WIDTHS = (2.0, 40.0)  # inches between which a figure can be laid out, and its file be held


class Picture(NamedTuple):
    """A slice, and the paths that are seen on it."""

    title: str
    cut: Slice
    seen: Mapping[str, Projection]
    ends: Mapping[str, float] = {}  # the true loss at the ends of paths
    walk: Sequence[float] = ()  # the variance of random walks on the axes, where these are principal components
    ahead: Mapping[str, np.ndarray] = {}  # (T, 2) look-ahead points, of paths that keep them


def keep_picture(file: Path, picture: Picture) -> None:
    """Write the slice into a zarr group, such as `slices/0.zarr`, and the paths into another beside it."""
    save_slice(file, picture.cut)
    packed, explained = {}, {}
    for i, (name, path) in enumerate(picture.seen.items()):
        explained[name] = path.explained
        for part in _PARTS:
            if getattr(path, part) is not None:
                dimensions = (f"point_{i}", "axis")[: np.ndim(getattr(path, part))]
                packed[f"{i}.{part}"] = arrays.named(getattr(path, part), dimensions, optimizer=name, part=part)
        if name in picture.ahead:
            kept = {"optimizer": name, "part": "lookahead"}
            packed[f"{i}.lookahead"] = arrays.named(picture.ahead[name], (f"point_{i}", "axis"), **kept)
    about = {"title": picture.title, "ends": dict(picture.ends), "explained": explained, "walk": [*picture.walk]}
    arrays.write(_beside(file), arrays.Group("seen", packed, about))


_PARTS = ("coordinates", "residual", "steps", "share")


def read_picture(file: Path) -> Picture:
    """Read what `keep_picture` wrote.

    Raises:
        Refusal: it is missing or damaged.
    """
    try:
        group = arrays.read(_beside(file), "seen")
        parts: dict[str, dict[str, Any]] = {name: {} for name in group.attributes["explained"]}
        for array in group.arrays.values():
            parts[array.attributes["optimizer"]][array.attributes["part"]] = array.data
        explained = group.attributes["explained"]
        ahead = {name: found.pop("lookahead") for name, found in parts.items() if "lookahead" in found}
        seen = {name: Projection(**found, explained=explained[name]) for name, found in parts.items()}
        about = group.attributes
        return Picture(about["title"], load_slice(file), seen, about["ends"], about.get("walk", ()), ahead)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise Refusal(f"{error}; nagviz run --resume writes it anew, as nagviz slice does for its own") from None


def _beside(file: Path) -> Path:
    return file.with_suffix(".seen.zarr")


# What a run's folder offers.


class Drawing(NamedTuple):
    """A figure that a run may have."""

    draw: Callable[[Path, Ways], figures.Figure | figures.Page | figures.Animation | Summary]  # of the run's folder
    needs: tuple[str, ...]  # patterns of what it is drawn from
    formats: tuple[str, ...] = FORMATS[:2]  # that a run writes
    asked: bool = False  # whether it is drawn only when it is asked for by name
    takes: tuple[str, ...] = ()  # further keys of `Ways`
    able: tuple[str, ...] = FORMATS  # formats that what is drawn can be saved in
    files: Mapping[str, Callable[[Path, Ways, Path], None]] = {}  # what writes others: of the run's folder, to a file


def landscape(folder: Path, ways: Ways) -> figures.Figure:
    """The paths on the slices, and a note on who is missing and how far the slices are off."""
    pictures = [_picture_of(file) for file in _seen(folder)]
    shown, trials = _shown(folder), _trials(folder)
    told = _told_by({picture.title: picture for picture in pictures})
    note = "\n".join(line for line in (_lost(shown), _first_of(trials), *told) if line) or None
    run = load(folder / "config.toml")
    ahead = {picture.title: _ahead(run, picture) for picture in pictures}
    if _is_several(shown):
        return figures.landscapes({p.title: (p.cut, p.seen) for p in pictures}, note=note, lookaheads=ahead, **ways)
    (picture,) = pictures
    return figures.landscape(picture.cut, picture.seen, note=note, lookaheads=ahead[picture.title], **ways)


def _seen(folder: Path) -> list[Path]:
    return [file for pattern in _OWN_SLICES for file in sorted(folder.glob(pattern))]


_OWN_SLICES = ("slices/[0-9].seen.zarr", "slices/[0-9][0-9].seen.zarr")  # those of the run itself


def compare(folder: Path, ways: Ways) -> figures.Figure:
    """One optimizer a panel on the last of the run's slices, or that slice beside another run's, under one scale."""
    asked = dict(ways)
    other = asked.pop("with", None)
    picture = _last_picture(folder)
    if other is None:
        named = f"{picture.title}: {picture.cut.quantity}" if len(_seen(folder)) > 1 else picture.cut.quantity
        cut = picture.cut._replace(quantity=named)
        return figures.compare(figures.one_each(cut, picture.seen), note=_told(picture), **asked)
    report.require_run(other)
    pictures = dict(zip(_titles(folder, other), (picture, _last_picture(other)), strict=True))
    said = _told_by(pictures)
    panels = {title: (picture.cut, picture.seen) for title, picture in pictures.items()}
    return figures.compare(panels, note="\n".join(said) or None, **asked)


def _titles(one: Path, other: Path) -> list[str]:
    """What two runs are called: as their folders, with as much of the path as tells them apart.

    >>> _titles(Path("/runs/calm/digits"), Path("/runs/wild/digits"))
    ['calm/digits', 'wild/digits']
    """
    parts = [path.resolve().parts for path in (one, other)]
    if parts[0] == parts[1]:
        raise Refusal(f"--with {other}: is the same run; name another one")
    length = next(n for n in range(1, max(map(len, parts)) + 1) if parts[0][-n:] != parts[1][-n:])
    return ["/".join(path[-length:]) for path in parts]


def _last_picture(folder: Path) -> Picture:
    """Of the last problem, which is the one on data."""
    files = _seen(folder)
    if not files:
        raise Refusal(f"{folder} has no slice to compare; nagviz run --resume makes it where a run was stopped")
    return _picture_of(files[-1])


def curves(folder: Path, ways: Ways) -> figures.Figure:
    """What was measured over the steps: every measure, or the first of every problem where there are several."""
    trials, few = _trials(folder), _few_samples(folder)
    several = _is_several(trials)
    panels: dict[str, dict[str, tuple]] = {}
    for problem, of_problem in trials.items():
        for name, series in list(_measured(of_problem, few(problem)).items())[: 1 if several else None]:
            panels[f"{problem}: {name}" if several else name] = series
    note = "\n".join(line for line in ("; ".join(_divergences(trials)), _spread_over(trials)) if line) or None
    linear = [name for name in panels if DEGREES in name]
    return figures.curves(panels, note=note, linear=linear, **ways)


def _few_samples(folder: Path) -> Callable[[str | None], int | None]:
    """Of a problem, over how few training samples is what is observed of it; None where that needs no samples."""
    held = report.read_facts(folder).get("observed samples", {})
    return lambda problem: held.get(problem or next(iter(held), None))


def _titled(name: str, few: int | None) -> str:
    """A measure, and of how few training samples it is where it is observed of some."""
    some = few is not None and name in [LABELS[observed] for observed in ON_DEVICE]
    return f"{name}, of {few:,} training samples" if some else name


def _first_of(trials: Trials) -> str | None:
    """Which of several seeds a path is of."""
    most = max((len(seeds) for of_problem in trials.values() for seeds in of_problem.values()), default=1)
    return f"The paths are those of the first of {most} seeds." if most > 1 else None


def _spread_over(trials: Trials) -> str | None:
    counts = {len(seeds) for of_problem in trials.values() for seeds in of_problem.values()}
    if counts == {1}:
        return None
    return f"Mean, and a band of one standard deviation, over {' or '.join(map(str, sorted(counts)))} seeds."


def family(folder: Path, ways: Ways) -> figures.Figure:
    """The methods on the map of the look-ahead family."""
    held = _read(folder / "family.json", json.loads)
    places = {name: np.asarray(coefficients) for name, coefficients in held["methods"].items()}
    return figures.family(places, held["condition_number"], **ways)


def keep_family(folder: Path, places: Mapping[str, np.ndarray], condition_number: float) -> None:
    """Write what the map of the family is drawn from: (steps, 3) coefficients of each method."""
    held = {
        "condition_number": condition_number,
        "methods": {name: np.asarray(c).tolist() for name, c in places.items()},
    }
    report.write(folder / "family.json", json.dumps(held) + "\n")


def noise(folder: Path, ways: Ways) -> figures.Figure:
    """What each method needs for a digit, by the noise, and the best correction."""
    rows = _table(folder / "noise.csv")
    varied, k = _column(rows, "sigma"), rows[0]["condition number"]
    panels = {
        f"steps to a decimal digit, k = {k:g}": {name: (varied, _column(rows, name)) for name in METHODS},
        "best correction \u03b3": {METHODS[-1]: (varied, _column(rows, "correction"))},
    }
    note = f"{METHODS[0]} diverges in mean square above \u03c3 = {largest_noise(nesterov(k), k):.4f}."
    return figures.curves(panels, across="noise \u03c3, as a share of the gradient", note=note, **ways)


def targets(folder: Path, ways: Ways) -> figures.Figure:
    """The steps to the target loss, by batch size; a gap where a trial did not get there."""
    rows = _table(folder / "targets.csv")
    series = {}
    for name in dict.fromkeys(row["optimizer"] for row in rows):
        of_one = [row for row in rows if row["optimizer"] == name]
        series[name] = (_column(of_one, "batch size"), _column(of_one, "steps"))
    panel = {f"steps to a train loss of {rows[0]['target']:g}": series}
    return figures.curves(panel, across="batch size", **{"width": figures.COLUMN, **ways})


def sharpness(folder: Path, ways: Ways) -> figures.Figure:
    """The largest curvatures along each path, under what its method can bear."""
    paths: dict[str, list[Mapping[str, Any]]] = {}
    for row in _table(folder / "sharpness.csv"):
        name = f"{row['optimizer']}, {row['problem']}" if "problem" in row else row["optimizer"]
        paths.setdefault(name, []).append(row)
    return figures.spectrum({name: _spectrum(rows) for name, rows in paths.items()}, **ways)


def _spectrum(rows: Sequence[Mapping[str, Any]]) -> figures.Spectrum:
    values = [_column(rows, name) for name in rows[0] if name.startswith("eigenvalue ")]
    limit = _column(rows, "limit")
    return figures.Spectrum(_column(rows, "step"), np.stack(values, axis=1), None if np.isnan(limit).all() else limit)


def _cut(file: Path, folder: Path, ways: Ways) -> figures.Figure:
    """What `nagviz slice` made."""
    del folder
    picture = _picture_of(file)
    return figures.landscape(picture.cut, picture.seen, note=_told(picture), **ways)


def page(folder: Path, ways: Ways) -> figures.Page:
    """The landscapes to explore, with what was measured over the steps."""
    _require_no_width("page", ways)
    shown, trials = _shown(folder), _trials(folder)
    several, run, few = _is_several(shown), load(folder / "config.toml"), _few_samples(folder)
    scenes = {}
    for file in _seen(folder):
        picture = _picture_of(file)
        problem = picture.title if several else None
        curves = _measured(trials[problem], few(problem))
        said = (_lost({None: shown[problem]}), _first_of({None: trials[problem]}), _told(picture), _sampled(run))
        note = "\n".join(filter(None, said))
        scenes[picture.title] = figures.Scene(picture.cut, picture.seen, curves, _ahead(run, picture), note)
    looks = figures.looks(optimizer for of_problem in shown.values() for optimizer in of_problem)
    about = figures.About(run.name, run.question, report.identity(folder).fingerprint[:12])
    return figures.pages(scenes, about=about, looks=looks)


def _require_no_width(name: str, ways: Ways) -> None:
    if "width" in ways:
        raise Refusal(f"--width does nothing to {name}: it is as wide as the screen that it is read on; leave it out")


def told(folder: Path, ways: Ways) -> Summary:
    """The run on one page, with the figures that lie in its folder."""
    _require_no_width("report", ways)
    return summarise(folder)


def step(folder: Path, ways: Ways) -> figures.Figure:
    """The anatomy of a step, which is replayed."""
    from nagviz.experiment.replaying import Moment, anatomy_at  # here, since it loads what trains

    asked = dict(ways)
    moment = Moment(*(asked.pop(key, None) for key in Moment._fields))
    anatomy, note = anatomy_at(folder, moment, trust=asked.pop("trust", False))
    return figures.step(anatomy, note=note, **asked)


def cuts(folder: Path, ways: Ways) -> figures.Figure:
    """The losses along the lines between solutions, which are evaluated."""
    from nagviz.experiment.joining import Choice, between  # likewise

    asked = dict(ways)
    choice = Choice(*(asked.pop(key, None) for key in ("optimizer", "problem", "with")))
    found = between(folder, choice, trust=asked.pop("trust", False))
    between_ends = [
        title for title, line in found.lines.items() if found.start not in line.marks
    ]  # the start is far above
    words = {"width": figures.PAGE, "note": found.note or None, **asked}
    return figures.cuts(found.lines, looks=found.looks, shares=between_ends, **words)


def field(folder: Path, ways: Ways) -> figures.Figure:
    """A slice's negative gradient, and along the paths the look-ahead, where it is known."""
    picture, ahead, ways = _asked(folder, ways)
    if not ahead:
        print(f"figure field: {NO_LOOKAHEAD}", file=sys.stderr)
    return figures.field(picture.cut, picture.seen, ahead, note=_told(picture), **ways)


def surface(folder: Path, ways: Ways) -> figures.Figure:
    """A slice in three dimensions."""
    picture, _, ways = _asked(folder, ways)
    return figures.surface(picture.cut, picture.seen, note=_told(picture), **ways)


def _surface_html(folder: Path, ways: Ways, file: Path) -> None:
    picture, *_ = _asked(folder, ways)
    try:
        figures.surface_html(file, picture.cut, picture.seen, title=picture.title)
    except ValueError as error:
        raise Refusal(str(error)) from None


def _surface_vts(folder: Path, ways: Ways, file: Path) -> None:
    picture, *_ = _asked(folder, ways)
    save_vts(file, picture.cut)


def animation(folder: Path, ways: Ways) -> figures.Animation:
    """The paths as they grow on a slice, with the look-ahead, where it is known."""
    picture, ahead, ways = _asked(folder, ways)
    return figures.animate(picture.cut, picture.seen, ahead, note=_told(picture), **ways)


NO_LOOKAHEAD = (
    "no look-ahead is drawn: a run keeps it where its config has lookahead = true, and iterates tell it where each "
    "step of a Nesterov method is kept (every = 1)."
)


def _ahead(run: Config, picture: Picture) -> dict[str, np.ndarray]:
    """The look-ahead points of the paths: those that were kept, and those that iterates tell."""
    return {**lookaheads(run, picture.seen), **picture.ahead}


def _asked(folder: Path, ways: Ways) -> tuple[Picture, dict[str, np.ndarray], dict[str, Any]]:
    """The run's own slice of the problem that is asked for, the look-ahead points on it, and the other ways.

    Of several problems the figure's title says which it is.
    """
    pictures = [_picture_of(file) for file in _seen(folder)]
    number = report.chosen([p.title for p in pictures], ways.get("problem"), "problem", len(pictures) - 1)
    picture = pictures[number]
    ahead = _ahead(load(folder / "config.toml"), picture)
    title = picture.title if len(pictures) > 1 else None
    return picture, ahead, {"title": title, **{key: value for key, value in ways.items() if key != "problem"}}


_TRAINED = ("results.csv",)  # what a run writes once it has trained
FIGURES = {
    "landscape": Drawing(landscape, _OWN_SLICES),
    "page": Drawing(page, _OWN_SLICES, ("html",), able=("html",)),
    "curves": Drawing(curves, ("metrics.jsonl",), ("png",)),
    "family": Drawing(family, ("family.json",)),
    "noise": Drawing(noise, ("noise.csv",)),
    "targets": Drawing(targets, ("targets.csv",), ("png",)),
    "sharpness": Drawing(sharpness, ("sharpness.csv",)),
    "report": Drawing(told, _TRAINED, TELLINGS, able=TELLINGS),  # last of what a run draws: it shows the others
    "step": Drawing(step, ("paths/*.zarr",), asked=True, takes=("at", "optimizer", "problem", "trust")),
    "field": Drawing(field, _OWN_SLICES, asked=True, takes=("problem",)),
    "surface": Drawing(
        surface, _OWN_SLICES, asked=True, takes=("problem",), files={"html": _surface_html, "vts": _surface_vts}
    ),
    "compare": Drawing(compare, _OWN_SLICES, asked=True, takes=("with",)),
    "cuts": Drawing(cuts, ("paths/*.zarr",), asked=True, takes=("optimizer", "problem", "with", "trust")),
    "animation": Drawing(animation, _OWN_SLICES, ("gif",), asked=True, takes=("problem",), able=("gif", "png", "mp4")),
}


def own(folder: Path) -> dict[str, Drawing]:
    """The figures that a run draws of itself, of those that its folder has the numbers for, by name."""
    return {name: drawing for name, drawing in _possible(folder).items() if not drawing.asked}


def on_demand(folder: Path) -> dict[str, Drawing]:
    """The figures that are drawn only when they are asked for."""
    return {name: drawing for name, drawing in _possible(folder).items() if drawing.asked}


def _possible(folder: Path) -> dict[str, Drawing]:
    return {name: drawing for name, drawing in FIGURES.items() if _has(folder, drawing.needs)}


def _has(folder: Path, patterns: Sequence[str]) -> bool:
    return any(any(folder.glob(pattern)) for pattern in patterns)


def offered(folder: Path) -> dict[str, Drawing]:
    """Those, and the figures of the slices that `nagviz slice` made."""
    found = own(folder)
    for file in sorted(folder.glob("slices/*-*.seen.zarr")):
        found[cut_name(file.name.removesuffix(".seen.zarr"))] = Drawing(partial(_cut, file), (f"slices/{file.name}",))
    return found


def cut_name(slice_name: str) -> str:
    """What the figure of a further slice is called."""
    return f"slice-{slice_name}"


def draw(
    folder: Path,
    names: Sequence[str] = (),
    *,
    out: Path | None = None,
    formats: Sequence[str] = (),
    ways: Ways = {},  # noqa: B006
) -> list[Path]:
    """Draw figures of a run from what its folder keeps.

    Args:
        folder: of the run.
        names: which; all that are not only drawn when asked for if left out.
        out: the folder to write into; by default the run's.
        formats: of the files; by default those that a run writes.
        ways: `width` of the figures, in inches, by default their own; and what else one of them takes.

    Returns:
        The files that were written.

    Raises:
        ConfigError: the folder's config is none.
        OSError: `out` cannot be written.
        Refusal: the folder holds no run, or has not what a figure is drawn from; or a figure has no use for a format or
            a way, or cannot be so wide.
    """
    width = ways.get("width", WIDTHS[0])
    if not WIDTHS[0] <= width <= WIDTHS[1]:
        raise Refusal(f"--width: must be from {WIDTHS[0]:g} to {WIDTHS[1]:g} inches, got {width:g}")
    report.require_run(folder)
    there = {**offered(folder), **(on_demand(folder) if names else {})}
    for name in names:
        if name not in there:
            going_on = name in FIGURES and not _has(folder, _TRAINED)
            more = f", and nagviz show {folder} tells how to go on" if going_on else ""
            raise Refusal(f"{folder} offers no figure {name!r}; it has {', '.join(there) or 'none yet'}{more}")
    if not there:
        raise Refusal(f"{folder} has nothing to draw yet; nagviz show {folder} tells how to go on")
    suited = [name for name, drawing in there.items() if _suits(drawing, formats, ways)]
    chosen = {name: there[name] for name in names or suited or there}
    _require_fitting(chosen, formats, ways)
    out = out or folder
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, drawing in chosen.items():
            written += _drawn(drawing, folder, out / name, formats or drawing.formats, ways)
    except ImportError as error:  # of what is optional
        if error.name:
            raise
        raise Refusal(str(error)) from error
    return written


def _suits(drawing: Drawing, formats: Sequence[str], ways: Ways) -> bool:
    """Whether a figure that nobody named can be had so."""
    is_figure = "png" in drawing.able
    if "width" in ways and (not is_figure or {*formats} & {*drawing.files}):
        return False
    return {*formats} <= {*drawing.able, *drawing.files}


def _require_fitting(chosen: Mapping[str, Drawing], formats: Sequence[str], ways: Ways) -> None:
    for name, drawing in chosen.items():
        for suffix in formats:
            if suffix not in (able := (*drawing.able, *drawing.files)):
                raise Refusal(f"--format {suffix}: {name} has {', '.join(able)}")
            if suffix in drawing.files and "width" in ways:
                raise Refusal(f"--width does nothing to {name}.{suffix}, which has no size in inches; leave it out")
    taken = {"width", *(key for drawing in chosen.values() for key in drawing.takes)}
    for key in ways:
        if key not in taken:
            able = ", ".join(name for name, drawing in FIGURES.items() if key in drawing.takes)
            raise Refusal(f"--{key} does nothing to {', '.join(chosen)}: it is of {able}; leave it out, or name that")


def _drawn(drawing: Drawing, folder: Path, stem: Path, formats: Sequence[str], ways: Ways) -> Iterator[Path]:
    """Write a figure, which is drawn once for all formats."""
    ways = {key: value for key, value in ways.items() if key == "width" or key in drawing.takes}
    run = report.identity(folder)
    figure = drawing.draw(folder, ways) if {*formats} & {*drawing.able} else None
    for suffix in formats:
        file = stem.with_name(f"{stem.name}.{suffix}")
        if suffix in drawing.files:
            drawing.files[suffix](folder, ways, file)
        else:
            # Pages name their run themselves.
            told = {"metadata": figures.about(suffix, f"{stem.name} of {run.name}", run.fingerprint)}
            figure.savefig(file, **({} if isinstance(figure, figures.Page | Summary) else told))
        yield file


# What a run has measured.

Shown = dict[str | None, dict[str, list[Row]]]  # by problem, where a run has several, and optimizer: its rows
Trials = dict[str | None, dict[str, dict[int | None, list[Row]]]]  # likewise, and by seed


def _shown(folder: Path) -> Shown:
    """The rows of the trial that stands for each optimizer: at the chosen learning rate, from the first seed."""
    return {
        problem: {optimizer: next(iter(seeds.values())) for optimizer, seeds in of_problem.items()}
        for problem, of_problem in _trials(folder).items()
    }


def _trials(folder: Path) -> Trials:
    """The rows of all trials at the chosen learning rates."""
    chosen = {
        (row.get("problem"), row["optimizer"]): float(row["learning rate"])
        for row in _read(folder / "results.csv", lambda text: list(csv.DictReader(text.splitlines())))
        if row.get("learning rate")
    }
    trials: Trials = {}
    for row in _read(folder / "metrics.jsonl", lambda text: list(map(json.loads, text.splitlines()))):
        problem, optimizer = row.get("problem"), row["optimizer"]
        if row.get("learning_rate") == chosen.setdefault((problem, optimizer), row.get("learning_rate")):
            trials.setdefault(problem, {}).setdefault(optimizer, {}).setdefault(row.get("seed"), []).append(row)
    return trials


def _read(file: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise Refusal(f"{file} is missing or damaged: {error}; nagviz run --resume writes it anew") from None


def _table(file: Path) -> list[dict[str, Any]]:
    """The rows of a table, in which all but names are numbers; NaN where there is none."""

    def parse(text):
        rows = csv.DictReader(text.splitlines())
        return [{key: x if key in _NAMES else float(x or "nan") for key, x in row.items()} for row in rows]

    return _read(file, parse)


_NAMES = ("problem", "optimizer")


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows])


def _is_several(by_problem: Mapping[str | None, Any]) -> bool:
    return None not in by_problem


def _measured(
    of_problem: Mapping[str, Mapping[Any, Sequence[Row]]], few: int | None = None
) -> dict[str, dict[str, tuple[np.ndarray, ...]]]:
    """By measure, titled, and by optimizer: of all optimizers, each has some."""
    firsts = [rows[0] for seeds in of_problem.values() for rows in seeds.values()]
    names = [name for name in dict.fromkeys(name for row in firsts for name in row) if name not in ABOUT]
    return {
        _titled(name, few): {
            optimizer: _series(list(seeds.values()), name)
            for optimizer, seeds in of_problem.items()
            if name in next(iter(seeds.values()))[0]
        }
        for name in names
    }


def _series(seeds: Sequence[Sequence[Row]], name: str) -> tuple[np.ndarray, ...]:
    """Of one seed: steps, values, and the steps by which the optimizer had restarted; of several, mean and spread.

    There is no mean at a step that a seed did not reach.
    """
    if len(seeds) == 1:
        (rows,) = seeds
        steps = np.array([row["step"] for row in rows])
        return steps, _values(rows, name), steps[[bool(row.get("restarted")) for row in rows]]
    steps = np.unique([row["step"] for rows in seeds for row in rows])
    values = np.full((len(seeds), len(steps)), np.nan)
    for rows, of_seed in zip(seeds, values, strict=True):
        of_seed[np.isin(steps, [row["step"] for row in rows])] = _values(rows, name)
    return steps, values.mean(axis=0), steps[:0], values.std(axis=0, ddof=1)


def _values(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([math.nan if row[name] is None else row[name] for row in rows])


# What a figure says besides.


def _lost(shown: Shown) -> str | None:
    """Who is not drawn."""
    trials = {problem: {name: {None: rows} for name, rows in of.items()} for problem, of in shown.items()}
    return "; ".join(_divergences(trials)) or None


def _divergences(trials: Trials) -> Iterator[str]:
    """Of several seeds each by its own."""
    for problem, of_problem in trials.items():
        for optimizer, seeds in of_problem.items():
            for seed, rows in seeds.items():
                if "diverged" in rows[-1]:
                    which = f"{optimizer} (seed {seed})" if len(seeds) > 1 else optimizer
                    yield f"{which} diverged at step {rows[-1]['diverged']}" + (f" of {problem}" if problem else "")


def _told(picture: Picture) -> str | None:
    """What has to be held against a picture: what random walks would show, and where the slice is off."""
    return "\n".join(filter(None, (figures.walked(picture.walk), _misread(picture)))) or None


def _sampled(run: Config) -> str | None:
    """On which samples the loss on the slice and that over the steps are worked out, where these differ."""
    few = getattr(run.slice, "samples", None)  # of functions there are none
    return few and f"The loss on the slice is that of the first {few:,} training samples, the train loss that of all."


def _told_by(pictures: Mapping[str, Picture]) -> list[str]:
    """Likewise of several, by title where there are more than one."""
    pairs = [(title, line) for title, picture in pictures.items() for line in (_told(picture) or "").splitlines()]
    return [f"{title}: {line}" if len(pictures) > 1 else line for title, line in pairs]


def _misread(picture: Picture) -> str | None:
    """By what factors the slice is off under the ends of the paths, where the plane hides over a twentieth."""
    cut = picture.cut
    read = RegularGridInterpolator((cut.y, cut.x), cut.values, bounds_error=False)
    factors = {}
    for name, path in picture.seen.items():
        true = picture.ends.get(name)
        if true and path.residual[-1] > 1e-6 * np.ptp(cut.x):
            factors[name] = read(path.coordinates[-1][::-1]).item() / true
    off = {name: f for name, f in factors.items() if f > 0 and abs(math.log(f)) > math.log(1.05)}
    worst = sorted(off, key=lambda name: -abs(math.log(off[name])))[:5]
    high = [f"{name} \u00d7{_factor(off[name])}" for name in worst if off[name] > 1]
    low = [f"{name} \u00f7{_factor(1 / off[name])}" for name in worst if off[name] < 1]
    said = [f"{way}: {', '.join(names)}" for way, names in (("too high", high), ("too low", low)) if names]
    more = [f"{len(off) - len(worst)} more by less"] if len(off) > len(worst) else []
    return f"At the ends of the paths the slice reads the loss {'; '.join([*said, *more])}." if off else None


def _factor(times: float) -> str:
    return f"{times:.0f}" if times >= 10 else f"{times:.2g}"


def _picture_of(seen: Path) -> Picture:
    return read_picture(seen.with_name(seen.name.removesuffix(".seen.zarr") + ".zarr"))
