"""Paths grow on a ground that is drawn once, and nothing is shown that was not recorded."""

import io
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageSequence

from nagviz.figures import animate, looks, style
from nagviz.figures import animation as module
from nagviz.figures.animation import COLORS, STRETCHES
from nagviz.figures.palettes import palette, unpacked

x, y = np.linspace(-2, 2, 21), np.linspace(-1, 2, 21)
SMALL = 60  # pixels to the inch


class Cut(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple = ("PC 1", "PC 2")
    quantity: str = "loss"


class Path(NamedTuple):
    coordinates: np.ndarray
    residual: np.ndarray
    steps: np.ndarray


BOWL = Cut(x, y, x**2 + 3 * y[:, None] ** 2)
WALK = np.stack([np.linspace(-1.5, 1, 6), np.linspace(1.5, 0, 6)], axis=1)
LONG = Path(WALK, np.linspace(1, 2, 6), np.arange(6) * 10)
SHORT = Path(WALK[:3] * 0.5, np.zeros(3), np.arange(3) * 10)


@pytest.fixture(scope="module")
def moving():
    return animate(BOWL, {"NAG": LONG, "SGD": SHORT}, {"NAG": WALK + 0.4}, seconds=1.2, hold=0.5)


def written(made, kind):
    buffer = io.BytesIO()
    made.savefig(buffer, dpi=SMALL, format=kind)
    return buffer.getvalue()


def opened(made, kind):
    return Image.open(io.BytesIO(written(made, kind)))


def key(made):
    return [text.get_text() for legend in made.figure.legends for text in legend.get_texts()]


def test_there_is_a_frame_for_each_step_that_was_recorded_and_no_more_than_asked_for(moving):
    assert moving.moments.tolist() == [0, 10, 20, 30, 40, 50]
    assert moving.durations == [200, 200, 200, 200, 200, 500]
    assert animate(BOWL, {"NAG": LONG}, frames=3).moments.tolist() == [0, 20, 50]
    assert animate(BOWL, {"NAG": LONG}, frames=1).moments.tolist() == [50]
    quick = animate(BOWL, {"NAG": LONG}, seconds=0.01, hold=0)
    assert quick.durations == [20] * 6  # what is less, browsers show as 100


def test_a_path_grows_with_its_distance_and_stays_where_it_ends(moving):
    moving.show(30)
    nag, sgd = moving.movers["NAG"], moving.movers["SGD"]
    for line in nag.lines:
        np.testing.assert_array_equal(line.get_xydata(), WALK[:4])
    np.testing.assert_array_equal(nag.hidden.get_xydata(), np.stack([LONG.steps, LONG.residual], axis=1)[:4])
    assert (nag.head.get_visible(), nag.end.get_visible()) == (True, False)
    assert (sgd.head.get_visible(), sgd.end.get_visible()) == (False, True)
    np.testing.assert_array_equal(sgd.end.get_xydata(), SHORT.coordinates[-1:])
    assert moving.counter.get_text() == "step 30"
    moving.show(25)  # between two rows: the one before
    np.testing.assert_array_equal(nag.head.get_xydata(), WALK[2:3])


def test_the_look_ahead_reaches_from_the_iterate_as_far_as_the_key_says(moving):
    moving.show(30)
    line, point = moving.movers["NAG"].reach
    assert "look-ahead" in key(moving)  # as far as it is
    np.testing.assert_allclose(line.get_xydata(), [WALK[3], WALK[3] + 0.4])
    np.testing.assert_allclose(point.get_xydata(), WALK[3:4] + 0.4)
    assert line.get_visible()
    moving.show(50)
    assert not line.get_visible()
    assert not any(part.get_visible() for part in moving.movers["SGD"].reach)
    small = animate(BOWL, {"NAG": LONG}, {"NAG": WALK + 0.01})
    (said,) = (text for text in key(small) if text.startswith("look-ahead"))
    factor = float(said.partition("\u00d7")[2])
    assert factor in STRETCHES[1:]
    small.show(10)
    np.testing.assert_allclose(small.movers["NAG"].reach[1].get_xydata(), WALK[1:2] + factor * 0.01)
    asked = animate(BOWL, {"NAG": LONG}, {"NAG": WALK + 0.01}, stretch=3.0)
    assert "look-ahead drawn \u00d73" in key(asked)
    assert [text.get_text() for text in asked.figure.axes[0].texts][-1] == "look-ahead drawn \u00d73"


def test_a_frame_is_what_the_figure_itself_draws_there(moving):
    frames = list(moving.frames(SMALL))
    moving.show(20)
    buffer = io.BytesIO()
    moving.figure.savefig(buffer, format="png", dpi=SMALL)
    np.testing.assert_array_equal(frames[2], np.asarray(Image.open(buffer).convert("RGB")))


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_files_hold_the_frames_their_times_and_go_round(moving, kind):
    image = opened(moving, kind)
    assert (image.n_frames, image.info["loop"]) == (6, 0)
    pixels = list(moving.pixels(SMALL))
    colors = palette(np.stack([pixels[0], pixels[-1]]), style.INKS, COLORS)
    times = []
    for made, frame in zip(pixels, ImageSequence.Iterator(image), strict=True):
        seen = np.asarray(frame.convert("RGB")).astype(int)
        np.testing.assert_array_equal(seen, colors.colors[colors.indexed(made)])
        off = np.abs(seen - unpacked(made))
        assert off.mean() < 0.5
        assert (off.max(axis=-1) > 32).mean() < 1e-3  # in one palette of 255
        times.append(frame.info["duration"])
    assert times == moving.durations


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_the_same_animation_is_the_same_bytes(moving, kind):
    again = animate(BOWL, {"NAG": LONG, "SGD": SHORT}, {"NAG": WALK + 0.4}, seconds=1.2, hold=0.5)
    assert written(moving, kind) == written(again, kind)
    assert len(written(again, kind)) < 40_000


def test_colours_that_cover_most_are_kept_and_all_others_go_to_the_nearest():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2**24, (40, 40)).astype(np.uint32)
    pixels[:20] = 0x2A1BFE
    pixels[-1, -1] = 0xFDFEFF
    made = palette(pixels, ["#FFFEFD"], COLORS)
    assert len(made.colors) <= COLORS
    assert made.colors[made.indexed(pixels[:1, :1])[0, 0]].tolist() == [0xFE, 0x1B, 0x2A]
    assert made.colors[made.indexed(pixels[-1:, -1:])[0, 0]].tolist() == [0xFF, 0xFE, 0xFD]  # an ink, of one pixel
    seen = made.colors[made.indexed(pixels)]
    far = ((unpacked(pixels)[..., None, :] - made.colors) ** 2).sum(-1)
    np.testing.assert_array_equal(((unpacked(pixels) - seen) ** 2).sum(-1), far.min(-1))


def test_what_cannot_be_moved_is_refused():
    for wrong, said in (
        ({"paths": {}}, "paths is empty"),
        ({"paths": {"NAG": LONG}, "lookaheads": {"Eve": WALK}}, "'Eve'"),
        ({"paths": {"NAG": LONG}, "lookaheads": {"NAG": WALK[1:]}}, "one look-ahead point for each"),
        ({"paths": {"NAG": LONG}, "frames": 0}, "frames must be"),
        ({"paths": {"NAG": LONG}, "seconds": np.inf}, "seconds positive"),
    ):
        with pytest.raises(ValueError, match=said):
            animate(BOWL, **wrong)


def test_what_is_odd_still_moves():
    once = animate(BOWL, {"NAG": WALK[:1]})
    assert (opened(once, "gif").size[0], once.moments.tolist(), once.durations) == (201, [0], [8000])
    nothing = animate(BOWL._replace(values=np.full((21, 21), np.nan)), {"NAG": LONG})
    assert "loss not finite" in key(nothing)
    lost = WALK.copy()
    lost[3:] = np.nan
    gone = animate(BOWL, {"NAG": lost})
    assert gone.movers["NAG"].end.get_marker() == "x"
    assert gone.moments.tolist() == [0, 1, 2]
    away = animate(BOWL, {"NAG": 1e6 * WALK}, {"NAG": 1e6 * WALK + 1})
    assert away.figure.axes[0].get_xlim() == (-2, 2)
    assert any("Leaving the slice: NAG" in text.get_text() for text in away.figure.texts)
    for made in (nothing, gone, away):
        assert opened(made, "gif").n_frames > 1
    many = {f"optimizer {i} with quite a long name, 長い": WALK for i in range(10)}
    assert animate(
        BOWL, many, title="A title that takes more than one line of this width", looks=looks(many)
    ).moments.size


@pytest.mark.parametrize("values", [0 * BOWL.values + 2, 1e-30 * BOWL.values, 1e30 * BOWL.values, BOWL.values - 60])
def test_any_loss_moves(values):
    made = animate(
        BOWL._replace(values=values, labels=("主成分 1", "Потеря")), {"随机": LONG}, {"随机": WALK}, frames=2
    )
    assert opened(made, "gif").n_frames == 2


def test_mp4_asks_for_what_makes_it(moving, monkeypatch, tmp_path):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match="nagviz\\[video\\]"):
        moving.savefig(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="format must be one of gif, png, mp4, got 'avi'"):
        moving.savefig(tmp_path / "a.avi")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")
def test_mp4_holds_the_frames_and_the_end_for_its_time(moving, tmp_path):
    moving.savefig(tmp_path / "a.mp4", dpi=SMALL)
    moving.savefig(tmp_path / "b.mp4", dpi=SMALL)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    words = ["ffmpeg", "-loglevel", "error", "-i", str(tmp_path / "a.mp4"), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = subprocess.run(words, capture_output=True, check=True).stdout
    first = next(moving.frames(SMALL))
    high, wide = (side + side % 2 for side in first.shape[:2])
    frames = np.frombuffer(pixels, np.uint8).reshape(-1, high, wide, 3)
    assert len(frames) == 5 + 2  # half a second of frames of a fifth
    assert np.abs(frames[0, : first.shape[0], : first.shape[1]].astype(int) - first).mean() < 6
    with pytest.raises(OSError, match="ffmpeg"):
        moving.savefig(tmp_path / "nowhere" / "a.mp4", dpi=SMALL)
