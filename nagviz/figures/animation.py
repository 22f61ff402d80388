"""Paths that grow on their landscape, each with its look-ahead reaching out in front of it.

The ground is drawn once. For each frame it is put back as it was, and what moves is drawn over it; nothing is shown
that was not recorded. All frames share one palette.

>>> from typing import NamedTuple
>>> class Cut(NamedTuple):
...     x: np.ndarray
...     y: np.ndarray
...     values: np.ndarray
...     labels: tuple = ("PC 1", "PC 2")
...     quantity: str = "loss"
>>> x = y = np.linspace(-1, 1, 21)
>>> path = np.array([[0.8, 0.6], [0.4, -0.1], [0.0, 0.0]])
>>> moving = animate(Cut(x, y, x**2 + 4 * y[:, None] ** 2), {"NAG": path}, seconds=0.3, hold=1.0)
>>> moving.moments, moving.durations
(array([0., 1., 2.]), [100, 100, 1000])
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from PIL import Image, PngImagePlugin

from nagviz.figures import style
from nagviz.figures.key import wrapped
from nagviz.figures.labels import frame
from nagviz.figures.palettes import palette, unpacked
from nagviz.figures.panels import ground
from nagviz.figures.path import finite_rows, looked_ahead, points, require_walked, steps
from nagviz.figures.style import Figure, Look

DPI = 200  # pixels to the inch: a column is 670 wide
FRAMES = 100  # at the most, unless asked for
SHORTEST = 20  # milliseconds: what is less, browsers show as 100
COLORS = 255  # of the palette
CLEAR = 255  # the number that is left, of what does not change
STRETCHES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
REACH = 30.0  # points: as far as look-ahead points should be drawn
TITLE = 0.68  # share of the axes' width: the rest is the counter's


class Mover(NamedTuple):
    """A path in motion."""

    xy: np.ndarray  # (T, 2), up to the last row that is finite
    steps: np.ndarray  # (T,)
    lookahead: np.ndarray | None  # (T, 2), as far as it is drawn; NaN where it is not known
    lines: tuple[Line2D, ...]  # that grow: halo and core
    start: Line2D  # stands still, but above its line
    head: Line2D  # where it is
    end: Line2D  # shown once it is there: a star, or a cross where it stops being finite
    reach: tuple[Line2D, Line2D]  # to its look-ahead point, and that point
    hidden: Line2D | None  # the distance off the plane, that grows too
    residual: np.ndarray | None  # (T,)
    marked: Sequence[int]  # rows of that which have a marker

    @property
    def artists(self) -> list[Line2D]:
        """All that move."""
        return [
            *self.lines,
            self.start,
            self.head,
            self.end,
            *self.reach,
            *([self.hidden] if self.hidden is not None else []),
        ]

    def show(self, moment: float) -> None:
        """Move to a step."""
        count = max(int(np.searchsorted(self.steps, moment, side="right")), 1)
        at, done = self.xy[count - 1], count == len(self.xy)
        for line in self.lines:
            line.set_data(*self.xy[:count].T)
        self.head.set(data=at[:, None], visible=not done)
        self.end.set(data=at[:, None], visible=done)
        ahead = at if self.lookahead is None else self.lookahead[count - 1]
        seen = bool(not done and np.isfinite(ahead).all() and (ahead != at).any())
        self.reach[0].set(data=np.stack([at, ahead], axis=1), visible=seen)
        self.reach[1].set(data=ahead[:, None], visible=seen)
        if self.hidden is not None:
            self.hidden.set_data(self.steps[:count], self.residual[:count])
            self.hidden.set_markevery([row for row in self.marked if row < count])


class Animation(NamedTuple):
    """Frames to come: they are drawn when it is saved."""

    figure: Figure  # the ground, and what moves on it
    movers: dict[str, Mover]
    counter: Text  # of steps
    moments: np.ndarray  # (frames,): the step of each
    durations: list[int]  # milliseconds of each

    def frames(self, dpi: float = DPI) -> Iterator[np.ndarray]:
        """Pixels of each frame, (height, width, 3) of bytes.

        Args:
            dpi: pixels to the inch.
        """
        for pixels in self.pixels(dpi):
            yield unpacked(pixels).astype(np.uint8)

    def pixels(self, dpi: float = DPI) -> Iterator[np.ndarray]:
        """The same, each pixel one number: red + 256 green + 65536 blue, (height, width).

        Args:
            dpi: pixels to the inch.
        """
        moving = sorted(self._artists(), key=Artist.get_zorder)
        with style.context():
            self.figure.set_dpi(dpi)
            canvas = FigureCanvasAgg(self.figure)
            canvas.draw()
            still = canvas.copy_from_bbox(self.figure.bbox)
            for moment in self.moments:
                self.show(moment)
                canvas.restore_region(still)
                for artist in moving:
                    self.figure.draw_artist(artist)
                yield np.asarray(canvas.buffer_rgba()).view("<u4")[..., 0] & 0xFFFFFF

    def show(self, moment: float) -> None:
        """Move all to a step; the figure can then be saved as a picture.

        Args:
            moment: the step.
        """
        self.counter.set_text(f"step {moment:,.0f}")
        for mover in self.movers.values():
            mover.show(moment)

    def savefig(
        self, fname: Any, *, format: str | None = None, dpi: float = DPI, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write it: the same animation to the same bytes.

        Args:
            fname: a file's name, or for gif and png a file that is open to be written.
            format: gif, png (an animated one) or mp4; by default what the name ends in.
            dpi: pixels to the inch.
            metadata: what the file says of itself, as `about` makes it.

        Raises:
            ValueError: another format.
            ImportError: mp4 is asked for where there is no ffmpeg.
        """
        kind = (format or Path(fname).suffix.lstrip(".")).lower()
        if kind not in WRITERS:
            raise ValueError(f"format must be one of {', '.join(WRITERS)}, got {kind!r}")
        WRITERS[kind](self, fname, dpi, metadata or {})

    def _artists(self) -> list[Artist]:
        return [self.counter, *(artist for mover in self.movers.values() for artist in mover.artists)]


def animate(
    cut: Any,
    paths: Mapping[str, Any],
    lookaheads: Mapping[str, Any] | None = None,
    *,
    frames: int = FRAMES,
    seconds: float = 8.0,
    hold: float = 2.0,
    stretch: float | None = None,
    width: float = style.COLUMN,
    levels: Sequence[float] | np.ndarray | None = None,
    title: str | None = None,
    note: str | None = None,
    looks: Mapping[str, Look] | None = None,
) -> Animation:
    """Paths that grow on a slice, step by step, with the distance that the plane hides under them.

    Args:
        cut: a slice, as for `landscape`.
        paths: by name: (T, 2) coordinates, or records with `.coordinates` and perhaps `.residual` and `.steps`.
        lookaheads: by some of these names, the look-ahead points of the iterates, (T, 2) or a record.
        frames: how many at the most; where fewer steps were recorded, one for each.
        seconds: that the paths take.
        hold: seconds that their end is shown.
        stretch: how many times as far look-ahead points are drawn, which every frame says. By default a round number
            that makes them seen, 1 if they are so as they are.
        width: inches.
        levels: edges of the bands.
        title: above the axes.
        note: under the key.
        looks: `looks(names)` of the whole run.

    Raises:
        ValueError: no path; look-ahead points without a path, or not one for each iterate; no frame, or no time.
    """
    lookaheads = lookaheads or {}
    _require_moving(paths, lookaheads, frames, seconds, hold)
    table = style.resolve(paths, looks)
    stretch = _stretch(cut, paths, lookaheads, width) if stretch is None else stretch
    hints = _hints(cut, paths, stretch if lookaheads else None)
    figure = ground(cut, paths, width=width, levels=levels, title=title or "step", note=note, hints=hints, looks=table)
    ax, *strips = figure.axes
    with style.context():
        counter = _draw_words(ax, title)
        if lookaheads and stretch != 1:
            _warn_of(ax, stretch, paths)
        hidden = {line.get_label(): line for strip in strips if strip.get_visible() for line in strip.get_lines()}
        movers = {
            name: _mover(ax, path, _stretched(path, lookaheads.get(name), stretch), table[name], hidden.get(name))
            for name, path in paths.items()
        }
    made = Animation(figure, movers, counter, *_timed(movers.values(), frames, seconds, hold))
    for artist in made._artists():
        artist.set_animated(True)
    made.show(made.moments[-1])
    return made


def _not_to_scale(stretch: float) -> str:
    return "" if stretch == 1 else f" drawn \u00d7{stretch:g}"


def _warn_of(ax: Axes, stretch: float, paths: Mapping[str, Any]) -> Text:
    """What is not to scale, in the corner that is farthest from the paths."""
    on = frame(ax)
    walked = np.concatenate([on.points(points(path)[: finite_rows(path)]) for path in paths.values()]) / on.sides
    corners = np.array([(0.02, 0.03), (0.98, 0.03), (0.02, 0.97), (0.98, 0.97)])
    room = np.linalg.norm(corners[:, None] - walked, axis=-1).min(axis=1)
    across, up = corners[room.argmax()]
    place = {"ha": "left" if across < 0.5 else "right", "va": "bottom" if up < 0.5 else "top"}
    return ax.text(across, up, f"look-ahead{_not_to_scale(stretch)}", transform=ax.transAxes, **place, **style.CAUTION)


def _displaced(path: Any, ahead: Any) -> np.ndarray:
    return looked_ahead(path, ahead) - points(path)


def _stretched(path: Any, ahead: Any, stretch: float) -> np.ndarray | None:
    return None if ahead is None else points(path) + stretch * _displaced(path, ahead)


def _stretch(cut: Any, paths: Mapping[str, Any], lookaheads: Mapping[str, Any], width: float) -> float:
    """The largest round factor that leaves nine in ten look-ahead points within reach."""
    inches = width - 1.2  # roughly: of the axes
    moved = [_displaced(paths[name], ahead) for name, ahead in lookaheads.items()]
    far = np.linalg.norm(np.concatenate([np.empty((0, 2)), *moved]), axis=1) * 72 * inches / np.ptp(cut.x)
    far = far[np.isfinite(far) & (far > 0)]
    fitting = [factor for factor in STRETCHES if far.size and factor * np.quantile(far, 0.9) <= REACH]
    return max(fitting, default=1.0)


def _require_moving(paths, lookaheads, frames: int, seconds: float, hold: float) -> None:
    if not paths:
        raise ValueError("paths is empty: there is nothing that moves")
    require_walked(paths, lookaheads)
    if frames < 1 or not 0 < seconds < np.inf or not 0 <= hold < np.inf:
        raise ValueError(f"frames must be at least 1 and seconds positive, got {frames}, {seconds} and hold {hold}")


def _draw_words(ax: Axes, title: str | None) -> Text:
    """The title at the left, and the counter at the right."""
    across = TITLE * ax.get_position().width * ax.figure.get_figwidth()
    ax.set_title("")
    ax.set_title(wrapped(title or "", across, style.TITLE), loc="left", parse_math=False)
    return ax.set_title("step", loc="right")


def _mover(ax: Axes, path: Any, ahead: Any, look: Look, hidden: Line2D | None) -> Mover:
    xy, step = points(path), steps(path)
    length = finite_rows(path)
    above = style.ENDS + look.order
    mark = style.star(look) if length == len(xy) else style.cross(look)

    def drawn(at=((), ()), **how):
        return ax.plot(*at, **how)[0]

    return Mover(
        xy[:length],
        step[:length],
        None if ahead is None else ahead[:length],
        (drawn(**style.halo(look)), drawn(**style.core(look))),
        drawn(xy[0], ls="", zorder=above, **style.start(look)),
        drawn(ls="", zorder=above + 0.004, **style.spot(look)),
        drawn(ls="", zorder=above + 0.001, **mark),
        (drawn(**style.reach(look)), drawn(ls="", zorder=above + 0.003, **style.ahead(look))),
        hidden,
        None if hidden is None else np.asarray(path.residual, np.float64)[:length],
        () if hidden is None else hidden.get_markevery(),
    )


def _timed(movers, frames: int, seconds: float, hold: float) -> tuple[np.ndarray, list[int]]:
    """The step of each frame, and its milliseconds; a frame of a GIF lasts whole hundredths of a second."""
    known = np.unique(np.concatenate([mover.steps for mover in movers]))
    moments = known[np.unique(np.round(np.linspace(0, len(known) - 1, frames)).astype(int))]
    if moments[-1] != known[-1]:  # of a single frame, which shows the end
        moments = known[-1:]
    each = max(10 * round(100 * seconds / len(moments)), SHORTEST)
    return moments, [*[each] * (len(moments) - 1), max(10 * round(100 * hold), each)]


def _hints(cut: Any, paths: Mapping[str, Any], stretch: float | None) -> dict[str, Artist]:
    looks = {"start": style.start(style.NEUTRAL), "now": style.spot(style.NEUTRAL)}
    if stretch is not None:
        looks[f"look-ahead{_not_to_scale(stretch)}"] = style.ahead(style.NEUTRAL)
    looks |= {"end": style.star(style.NEUTRAL)}
    if not all(np.isfinite(points(path)).all() for path in paths.values()):
        looks["not finite from here"] = style.cross(style.NEUTRAL)
    marks: dict[str, Artist] = {what: Line2D([], [], ls="", **look) for what, look in looks.items()}
    if not np.isfinite(cut.values).all():
        marks["loss not finite"] = Patch(**style.HATCHED)
    return marks


# Files.


def _images(made: Animation, dpi: float) -> Iterator[Image.Image]:
    """The first frame, and of the others what has changed; the rest of these is clear."""
    ends = made._replace(moments=made.moments[[0, -1]])  # all colours have come at the end
    inks = (*style.INKS, *(mover.lines[-1].get_color() for mover in made.movers.values()))
    colors = palette(np.stack(list(ends.pixels(dpi))), inks, COLORS)
    before = None
    for pixels in made.pixels(dpi):
        seen = np.full(pixels.shape, CLEAR, np.uint8)
        fresh = np.full(pixels.shape, True) if before is None else pixels != before
        seen[fresh] = colors.indexed(pixels[fresh])
        image = Image.fromarray(seen, "P")
        image.putpalette(colors.flat)
        yield image
        before = pixels


def _save_gif(made: Animation, file: Any, dpi: float, metadata: Mapping[str, str]) -> None:
    first, *rest = _images(made, dpi)
    how: dict[str, Any] = {"transparency": CLEAR, "disposal": 1, "optimize": False}
    if metadata:
        how["comment"] = "\n".join(f"{key}: {text}" for key, text in metadata.items()).encode()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=made.durations, loop=0, **how)


def _save_png(made: Animation, file: Any, dpi: float, metadata: Mapping[str, str]) -> None:
    first, *rest = _images(made, dpi)
    told = PngImagePlugin.PngInfo()
    for key, text in metadata.items():
        told.add_text(key, text)
    clear = bytes([255] * CLEAR + [0])
    how = {"transparency": clear, "blend": PngImagePlugin.Blend.OP_OVER, "dpi": (dpi, dpi), "pnginfo": told}
    first.save(file, "PNG", save_all=True, append_images=rest, duration=made.durations, loop=0, **how)


def _save_mp4(made: Animation, file: Any, dpi: float, metadata: Mapping[str, str]) -> None:
    """H.264 as browsers play it, which needs even sides; the last frame is repeated for as long as it is held."""
    program = _ffmpeg()
    frames = made.frames(dpi)
    first = next(frames)
    each = made.durations[0]
    high, wide, _ = first.shape
    exact = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1"]  # no date, no version
    come = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{wide}x{high}", "-r", f"{1000 / each:g}", "-i", "-"]
    go = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18"]
    told = [word for key, text in metadata.items() for word in ("-metadata", f"{key.lower()}={text}")]
    words = [program, "-y", "-loglevel", "error", *come, *go, *exact, *told, "-movflags", "+faststart", str(file)]
    raw = [first.tobytes(), *(frame.tobytes() for frame in frames)]
    raw += [raw[-1]] * (made.durations[-1] // each - 1)
    done = subprocess.run(words, input=b"".join(raw), capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.returncode, f"ffmpeg: {done.stderr.decode(errors='replace').strip()}", str(file))


def _ffmpeg() -> str:
    if found := shutil.which("ffmpeg"):
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise ImportError("mp4 needs ffmpeg: install it, or pip install 'nagviz[video]'; gif needs nothing") from error
    return get_ffmpeg_exe()


WRITERS = {"gif": _save_gif, "png": _save_png, "mp4": _save_mp4}
