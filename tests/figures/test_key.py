import numpy as np
import pytest
from matplotlib.lines import Line2D

from nagviz.figures import COLUMN, PAGE, Figure, draw_key
from nagviz.figures.key import wrapped
from nagviz.figures.style import text_width

NAMES = ["SGD", "heavy ball", "NAG", "Adam", "Adagrad", "RMSProp", "Lion", "Muon", "QHM", "NAG restart"]
LONG = ["Adam with look-ahead, restart, clip to 1.0", "SGD with cosine decay and a warm-up of 500"]


def keyed(names, width=COLUMN, **kwargs):
    figure = Figure(figsize=(width, 2))
    ax = figure.subplots()
    legends = draw_key(figure, {name: Line2D([], []) for name in names}, **kwargs)
    figure.settle()
    figure.draw_without_rendering()
    return figure, ax, legends


@pytest.mark.parametrize("width", [COLUMN, PAGE])
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:5], NAMES, LONG, [name * 3 for name in LONG]])
def test_the_key_fits_the_page_and_covers_no_axes(names, width):
    figure, ax, (names_key, hints) = keyed(names, width, hints={"end": Line2D([], [])}, note="a note " * 15)
    (note,) = figure.texts
    boxes = [artist.get_window_extent() for artist in (ax, names_key, hints, note)]
    boxes[0] = ax.get_tightbbox()
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
    tops = [box.y1 for box in boxes[1:]]
    bottoms = [box.y0 for box in boxes[:-1]]
    assert (np.array(bottoms) >= np.array(tops) - 1).all()
    assert boxes[-1].y0 >= 0
    assert [text.get_fontsize() for text in names_key.get_texts()] == [7] * len(names)


def test_the_figure_grows_by_the_key():
    figure, ax, _ = keyed(NAMES)
    alone = Figure(figsize=(COLUMN, 2))
    other = alone.subplots()
    alone.settle()
    assert figure.get_figheight() > 2.3
    height = ax.get_position().height * figure.get_figheight()
    assert height == pytest.approx(other.get_position().height * 2, rel=0.03)


def test_short_names_share_rows():
    tall, short = keyed(NAMES)[0], keyed(NAMES, PAGE)[0]
    assert short.get_figheight() < tall.get_figheight()


def test_without_entries_there_is_no_key():
    figure, _, legends = keyed([])
    assert legends == []
    assert figure.get_figheight() == 2


def test_wrapped_keeps_words_and_line_breaks():
    assert wrapped("one two\nthree", 3.0) == "one two\nthree"
    assert wrapped("PC 2 (4.2% of path variance)", 0.9).replace("\n", " ") == "PC 2 (4.2% of path variance)"
    lines = wrapped("long " + 40 * "\u00e4", 1.0).split("\n")
    assert "".join(lines) == "long" + 40 * "\u00e4"
    assert max(text_width(line) for line in lines) <= 72


def test_columns_are_balanced():
    _, _, (key,) = keyed(NAMES[:5])
    assert key._ncols == 3  # 2, 2 and 1; four would leave 2, 1, 1 and 1
