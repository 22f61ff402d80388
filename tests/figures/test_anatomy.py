"""The picture of a step shows the step that it was given."""

import io
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from nagviz.figures import Anatomy, Rival, draw_step, looks, step
from nagviz.figures.labels import frame
from nagviz.figures.style import COLUMN, Figure

x, y = np.linspace(-1.3, 0.6, 31), np.linspace(-1.0, 0.4, 31)


class Cut(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    labels: tuple = ("along the velocity, in units of its length |s| = 0.169", "across it")
    quantity: str = "train cross entropy, 1,437 samples"


BOWL = Cut(x, y, 0.1 + (x - 0.3) ** 2 + 2 * (y[:, None] + 0.9) ** 2)
RIVALS = {
    "heavy ball": Rival(np.zeros(2), np.array([0.15, -0.3]), 0.12),
    "gradient descent": Rival(np.array([-1.0, 0.0]), np.array([-0.85, -0.3]), 0.12),
}
STEP = Anatomy(
    BOWL,
    iterate=np.array([-1.0, 0.0]),
    lookahead=np.zeros(2),
    next_iterate=np.array([-0.05, -0.47]),
    next_lookahead=np.array([0.7, -0.85]),
    rivals=RIVALS,
    step=12,
)
SHORT = STEP._replace(
    next_iterate=np.array([0.05, -0.04]),
    rivals={
        "heavy ball": Rival(np.zeros(2), np.array([0.07, -0.03]), 0.1),
        "gradient descent": RIVALS["gradient descent"],
    },
    detail=BOWL._replace(x=x / 5, y=y / 5 * 0.7),
)


def words(figure):
    return {text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()}


def said(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def on_page(ax):
    """A figure with the axes of the step settled."""
    figure = Figure(figsize=(COLUMN, 2.5))
    axes = figure.subplots()
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    figure.settle()
    return axes


@pytest.fixture(scope="module")
def drawn():
    ax = on_page(None)
    return ax, draw_step(ax, STEP)


@pytest.fixture(scope="module")
def figure():
    return step(STEP)


def test_every_point_is_marked_where_it_is(drawn):
    _, step_ = drawn
    at = {name: mark.get_xydata()[0].tolist() for name, mark in step_.marks.items()}
    assert at == {
        "x": [-1.0, 0.0],
        "y": [0.0, 0.0],
        "next x": [-0.05, -0.47],
        "heavy ball": [0.15, -0.3],
        "gradient descent": [-0.85, -0.3],
    }


def test_arrows_run_from_mark_to_mark_without_covering_them(drawn):
    ax, step_ = drawn
    ends = {"velocity": ("x", "y"), "step": ("y", "next x"), "heavy ball": ("y", "heavy ball")}
    on = frame(ax)
    for name, (tail, head) in ends.items():
        line, tip = step_.arrows[name]
        start, end = (on.points(step_.marks[mark].get_xydata()[0]) for mark in (tail, head))
        first = on.points(line.get_xydata()[0])
        last = on.points(np.array(tip._posA_posB[1]))
        run = (end - start) / np.linalg.norm(end - start)
        np.testing.assert_allclose(first, start + 3.6 * run, atol=1e-6)
        np.testing.assert_allclose(last, end - 3.6 * run, atol=1e-6)


@pytest.mark.parametrize(("end", "above"), [(-0.3, True), (-0.7, False)])
def test_of_two_arrows_one_way_the_shorter_lies_on_top(end, above):
    """Else nothing of it would be seen."""
    along = STEP._replace(
        next_iterate=np.array([0.0, -0.5]), rivals={"ball": Rival(np.zeros(2), np.array([0.0, end]), 0.0)}
    )
    arrows = draw_step(on_page(along), along).arrows
    step, ball = ([part.get_zorder() for part in arrows[name]] for name in ("step", "ball"))
    assert (min(ball) > max(step)) is above


def test_labels_are_mathematics_and_overlap_neither_one_another_nor_an_arrow(drawn):
    ax, step_ = drawn
    texts = {text.get_text() for text in step_.labels}
    assert {"$x_t$", "look-ahead $y_t$", "Nesterov $x_{t+1}$", "momentum $s_t$", "heavy ball"} < texts
    assert {r"$-\alpha\,\nabla f(y_t)$", r"$-\alpha\,\nabla f(x_t)$"} < texts
    boxes = [text.get_window_extent() for text in step_.labels]
    frame_box = ax.get_window_extent()
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i]), step_.labels[i].get_text()
        assert frame_box.containsx(box.x0)
        assert frame_box.containsx(box.x1)
        for line, _ in step_.arrows.values():
            path = ax.transData.transform(np.linspace(*line.get_xydata(), 200))
            assert not box.count_contains(path), step_.labels[i].get_text()


def test_nesterov_and_its_rivals_look_as_in_every_figure(drawn):
    _, step_ = drawn
    table = looks(["NAG", *RIVALS])
    for name in RIVALS:
        line, _ = step_.arrows[name]
        assert same_color(line.get_color(), table[name].color)
        assert step_.marks[name].get_marker() == table[name].marker
    assert same_color(step_.arrows["step"][0].get_color(), table["NAG"].color)
    widths = {name: line.get_linewidth() for name, (line, _) in step_.arrows.items()}
    assert max(widths, key=widths.get) == "step"


def test_the_figure_says_what_it_shows_and_what_it_hides(figure):
    ax = figure.axes[0]
    assert ax.get_title() == "Nesterov, step 12"
    assert (ax.get_xlabel().replace("\n", " "), ax.get_ylabel()) == BOWL.labels
    assert "Contours: train cross entropy, 1,437 samples." in said(figure)
    assert "projected: 12% of it lies outside this plane" in said(figure)
    exact = STEP._replace(rivals={name: rival._replace(hidden=1e-9) for name, rival in RIVALS.items()})
    assert "projected" not in said(step(exact, title="", note="one batch"))
    assert "one batch" in said(step(exact, note="one batch"))
    assert "leaves this plane by up to 2.0%" in said(step(STEP._replace(residual=0.02)))


def test_the_aspect_is_equal_and_text_readable(figure):
    ax = figure.axes[0]
    size = ax.get_position().size * figure.get_size_inches()
    assert size[0] / size[1] == pytest.approx(1.9 / 1.4, rel=0.01)
    assert figure.get_figwidth() == COLUMN
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7
    assert not figure.legends


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_input_is_the_same_bytes(kind):
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        step(STEP).savefig(file, format=kind, dpi=60)
    assert files[0].getvalue() == files[1].getvalue()


def test_a_short_step_is_shown_larger_in_the_corner():
    figure = step(SHORT)
    ax = figure.axes[0]
    (lens,) = ax.child_axes
    inside = {text.get_text() for text in lens.texts}
    assert {"Nesterov $x_{t+1}$", r"$-\alpha\,\nabla f(y_t)$", "heavy ball"} < inside
    assert not {"Nesterov $x_{t+1}$", "heavy ball"} & {text.get_text() for text in ax.texts}
    assert "gradient descent" in {text.get_text() for text in ax.texts}
    figure.draw_without_rendering()
    assert not any(text.get_window_extent().overlaps(lens.get_window_extent()) for text in ax.texts)
    size = lens.get_window_extent().size
    assert size[1] / size[0] == pytest.approx(0.7 * 1.4 / 1.9, rel=0.01)
    assert lens.get_xlim() == pytest.approx((x[0] / 5, x[-1] / 5))
    assert lens.get_ylim() == pytest.approx((y[0] * 0.14, y[-1] * 0.14))


@pytest.mark.parametrize("end", [(0.02, -0.1), (0.2, -0.8), (0.02, 0.1)])
def test_the_detail_hides_nothing_and_is_joined_to_its_place(end):
    figure = step(SHORT._replace(next_iterate=np.array(end), next_lookahead=np.array(end)))
    ax = figure.axes[0]
    (lens,) = ax.child_axes
    figure.draw_without_rendering()
    box = lens.get_window_extent()
    for line in ax.lines:
        assert not box.contains(*ax.transData.transform(line.get_xydata()[-1]))
    kind = pytest.importorskip("matplotlib.inset", reason="the frame was another artist").InsetIndicator
    (indicator,) = [artist for artist in ax.get_children() if isinstance(artist, kind)]
    place = ax.transData.transform([(x[0] / 5, y[0] * 0.14), (x[-1] / 5, y[-1] * 0.14)])
    assert not Bbox(place).overlaps(box)
    assert sum(connector.get_visible() for connector in indicator.connectors) == 2


def test_a_heavy_ball_has_no_look_ahead():
    figure = step(STEP._replace(next_iterate=np.zeros(2), next_lookahead=np.array([0.4, -0.3]), rivals={}))
    assert {"$y_{t-1}$", "$y_t$", "$y_{t+1}$"} < words(figure)
    assert not any("look-ahead" in word for word in words(figure))
    step(STEP._replace(gradient=False))


@pytest.mark.parametrize("method", ["triple momentum", "costs 5 $", "µ-Übermethode", "x" * 40])
def test_the_step_is_called_by_the_name_of_its_method(method):
    figure = step(SHORT._replace(method=method))
    figure.draw_without_rendering()
    assert any(method in word.replace(r"\$", "$").replace("\n", " ") for word in words(figure))
    for text in (text for ax in (*figure.axes, *figure.axes[0].child_axes) for text in ax.texts):
        assert figure.bbox.padded(1).containsx(text.get_window_extent().x1)


HOSTILE = {
    "constant": np.full_like(BOWL.values, 3.0),
    "all NaN": np.full_like(BOWL.values, np.nan),
    "half infinite": np.where(x > 0, np.inf, BOWL.values),
    "tiny": 1e-30 * BOWL.values,
    "huge": 1e30 * BOWL.values,
    "negative": -BOWL.values,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_loss_gives_a_figure(name):
    hostile = SHORT._replace(
        cut=BOWL._replace(values=HOSTILE[name]), detail=SHORT.detail._replace(values=HOSTILE[name])
    )
    figure = step(hostile)
    figure.draw_without_rendering()
    assert "$x_t$" in words(figure)
    assert ("Hatched: the loss is not finite." in said(figure)) == (name in ("all NaN", "half infinite"))


def test_far_rivals_no_rivals_and_points_that_coincide_give_figures():
    far = {"heavy ball": Rival(np.zeros(2), np.array([50.0, -1e6])), "x" * 40: Rival(np.zeros(2), np.zeros(2))}
    step(STEP._replace(method="学習率"), title="学習率").draw_without_rendering()
    for rivals in (far, {}):
        figure = step(STEP._replace(rivals=rivals))
        figure.savefig(io.BytesIO(), format="png", dpi=50)
    with pytest.raises(ValueError, match="looks has no entry for 'heavy ball'"):
        step(STEP, looks=looks(["NAG"]))
