"""The map of the family is the mathematics of one quadratic mode, and methods stand where their coefficients say."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from nagviz import figures
from nagviz.figures.map import CORRECTIONS, rate, steps_to_a_digit
from nagviz.figures.style import looks

K = 100.0
RHO = 1 - 1 / np.sqrt(K)


@pytest.mark.parametrize(
    ("momentum", "correction", "expected"),
    [
        (0.0, 0.0, 1 - 1 / K),  # gradient descent
        (0.5, -0.5, 1 - 1 / K),  # the same, by the correction that takes the momentum back
        ((np.sqrt(K) - 1) / (np.sqrt(K) + 1), 0.0, RHO),  # Nesterov
        (RHO**2 / (2 - RHO), RHO, RHO),  # triple momentum
        (1.0, -1.0, 1.0),  # a velocity that nothing damps
    ],
)
def test_the_rate_is_that_of_the_closed_forms(momentum, correction, expected):
    # Where two roots meet, their common value is as exact as the root of a rounding error.
    assert rate(np.array(momentum), np.array(correction), K) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_at_the_inverse_of_the_largest_curvature_the_family_is_stable_below_a_correction_of_1(momentum):
    """h lambda = 1 lies below 2 (1 + mu)/(1 + 2 mu + gamma) exactly where gamma < 1."""
    assert rate(np.array(momentum), np.array(1 - 1e-6), K) < 1
    assert rate(np.array(momentum), np.array(1 + 1e-6), K) > 1
    assert steps_to_a_digit(np.array(momentum), np.array(1.1), K) == np.inf


METHODS = {
    "NAG": np.array([[1.0, 0.8, 0.0]]),
    "QHM": np.array([[0.2, 0.9, -0.1]]),
    "OGM": np.array([[1.0, t / (t + 3), 0.6 + t / 100] for t in range(30)]),
    "heavy ball": np.array([[0.0, 0.7, 1.0]]),
}


def test_methods_stand_at_their_momentum_and_correction_over_step_weight():
    figure = figures.family(METHODS, K)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["NAG"].get_xydata().tolist() == [[0.8, 0.0]]
    assert lines["QHM"].get_xydata().tolist() == [[0.9, -0.5]]
    np.testing.assert_allclose(lines["OGM"].get_xydata(), METHODS["OGM"][:, 1:])
    assert lines["heavy ball"].get_xydata().tolist() == [[0.7, CORRECTIONS[1]]]
    assert lines["heavy ball"].get_marker() == ""  # the map has no place for it
    said = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "Beyond the map: heavy ball (γ/α is infinite)." in said
    assert said.startswith("Learning rate 1/L at step weight 1. Lines: schedules, from the first step to the last")
    table = looks(METHODS)
    assert {name: to_hex(lines[name].get_color()).upper() for name in METHODS} == {
        name: look.color for name, look in table.items()
    }
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert names == ["diverges"]  # the methods are named beside their marks
    assert set(METHODS) <= {text.get_text() for text in figure.axes[0].texts}  # beside their marks


def test_a_method_that_converges_above_the_map_is_marked_outside_the_frame():
    figure = figures.family(METHODS, K)
    ax, (name,) = figure.axes[0], [text for text in figure.axes[0].texts if text.get_text() == "heavy ball"]
    look = looks(METHODS)["heavy ball"]
    marked = [line for line in ax.lines if line.get_marker() == look.marker]
    outside = [line.get_transform().transform(line.get_xydata())[0, 1] for line in marked]
    assert len(outside) == 1
    assert outside[0] > ax.bbox.y1
    assert name.get_window_extent().y0 > ax.bbox.y1
    (arrow,) = [text.arrow_patch for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    figure.draw_without_rendering()
    assert max(name.get_window_extent().y1, arrow.get_window_extent().y1) < figure.bbox.y1
    sizes = {line.get_markersize() for line in ax.lines if line.get_marker() not in ("", "None")}
    assert len(sizes) == 1


def test_methods_without_room_for_their_names_are_in_the_key():
    crowd = {f"a method of a long name, {i}": np.array([[1.0, 0.5 + i / 100, i / 100]]) for i in range(20)}
    figure = figures.family(crowd, K)
    named = {text.get_text() for text in figure.axes[0].texts}
    keyed = {text.get_text().replace("\n", " ") for legend in figure.legends for text in legend.get_texts()}
    assert not {*crowd} <= named
    assert {*crowd} <= named | keyed


@pytest.mark.parametrize("condition_number", [1.0, 0.5, float("nan")])
def test_a_condition_number_of_one_has_no_map(condition_number):
    with pytest.raises(ValueError, match="condition_number must be above 1, got"):
        figures.family(METHODS, condition_number)


def test_a_method_below_the_map_is_on_its_lower_edge():
    figure = figures.family({"MaSS": np.array([[1.0, 0.5, -2.0]])}, K)
    assert figure.axes[0].lines[-1].get_xydata().tolist() == [[0.5, CORRECTIONS[0]]]
    assert any("MaSS" in text.get_text() for text in figure.texts)


@pytest.mark.parametrize("condition_number", [1.5, 50, 1e6, 1e12])
def test_any_condition_number_has_a_map(condition_number):
    levels = figures.family(METHODS, condition_number).axes[0].collections
    assert levels
