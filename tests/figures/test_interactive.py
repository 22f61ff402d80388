"""A surface that can be turned holds what the printed one shows, in one file."""

import importlib.util
import sys
from typing import NamedTuple

import numpy as np
import pytest

from nagviz.figures import interactive, looks, surface_html
from nagviz.figures.relief import sculpted

x = y = np.linspace(-1, 1, 11)
WALK = np.array([[0.8, 0.6], [0.4, -0.1], [0.0, 0.0]])

needs_plotly = pytest.mark.skipif(importlib.util.find_spec("plotly") is None, reason="plotly is not installed")


class Cut(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple = ("PC 1", "PC 2")
    quantity: str = "loss"


class Walked(NamedTuple):
    coordinates: np.ndarray
    steps: np.ndarray


BOWL = Cut(x, y, 0.01 + x**2 + 4 * y[:, None] ** 2)


def test_without_plotly_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match=r"pip install 'nagviz\[plotly\]'") as caught:
        surface_html(tmp_path / "a.html", BOWL)
    assert caught.value.name is None  # it says all itself


@needs_plotly
def test_the_file_needs_no_network_and_is_the_same_each_time(tmp_path):
    for name in ("a.html", "b.html"):
        surface_html(tmp_path / name, BOWL, {"NAG": WALK, "a < b & $c$": WALK}, title="bowl")
    text = (tmp_path / "a.html").read_text()
    assert text == (tmp_path / "b.html").read_text()
    assert "<script src=" not in text
    assert "a \\u003c b" not in text


@needs_plotly
def test_paths_lie_on_the_relief_and_points_tell_their_loss():
    graphs, body = interactive._plotly(), sculpted(BOWL)
    relief = interactive._relief(graphs, body, BOWL.values, "loss")
    np.testing.assert_array_equal(relief.z, body.z)
    np.testing.assert_array_equal(relief.customdata, BOWL.values)
    lines = relief.contours.z
    assert np.nanmax(body.z) - lines.size < lines.end < np.nanmax(body.z)  # there it is cut off, and flat
    table = looks(["NAG"])
    marks = interactive._marks(graphs, "NAG", body.lifted(WALK), Walked(WALK, np.array([0, 5, 10])), table["NAG"])
    assert marks.customdata.tolist() == [0, 5, 10]
    np.testing.assert_allclose(marks.z[-1], np.nanmin(body.z), atol=0.02)
    lost = np.array([WALK[0], WALK[1], [np.nan, 0.0]])
    marks = interactive._marks(graphs, "NAG", body.lifted(lost), lost, table["NAG"])
    assert marks.marker.symbol == ("circle", "x", "circle")
    assert marks.marker.size[1] > marks.marker.size[0]


@needs_plotly
def test_what_is_odd_is_drawn_or_refused_in_words(tmp_path):
    file = tmp_path / "a.html"
    surface_html(file, BOWL, {"NAG": WALK[:1], "far": WALK * 1e6, "lost": np.where(WALK < 0, np.nan, WALK)})
    assert file.stat().st_size > 1e6
    surface_html(file, BOWL._replace(values=np.where(BOWL.values > 2, np.nan, BOWL.values)))
    with pytest.raises(ValueError, match="no finite number"):
        surface_html(file, BOWL._replace(values=np.full((11, 11), np.nan)))
