"""Labels keep off arrows, off one another and on the page."""

import numpy as np
import pytest

from nagviz.figures.labels import (
    ASCENT,
    DESCENT,
    Label,
    along,
    around,
    boxes,
    draw_labels,
    draw_names,
    frame,
    place,
    sampled,
)
from nagviz.figures.style import COLUMN, Figure, text_width

SIDES = np.array([200.0, 150.0])


def overlap(one, two, size_one, size_two):
    return bool((np.abs(one - two) < (size_one + size_two) / 2).all())


def test_a_label_that_is_free_stands_right_of_its_point_and_never_on_it():
    size = np.array([30.0, 8.0])
    spots = around(np.array([100.0, 75.0]), size)
    assert (np.abs(spots.centres - [100, 75]) >= size / 2 + 4).any(axis=1).all()
    (centre,) = place([spots], size[None], np.empty((0, 2)), SIDES)
    assert centre[1] == 75
    assert centre[0] > 115


def test_labels_of_arrows_stand_on_either_side_of_them():
    tail, head, size = np.array([20.0, 20.0]), np.array([120.0, 20.0]), np.array([30.0, 8.0])
    centres = along(tail, head, size).centres
    assert (np.abs(centres[:, 1] - 20) >= 8).all()
    assert {True, False} == set(centres[:, 1] > 20)
    assert np.isfinite(along(tail, tail, size).centres).all()


@pytest.mark.parametrize("seed", range(20))
def test_labels_of_points_in_a_crowd_do_not_overlap_and_stay_on_the_page(seed):
    points = np.random.default_rng(seed).uniform([10, 10], SIDES - 10, (7, 2))
    sizes = np.tile([32.0, 8.0], (7, 1))
    at = place([around(p, s) for p, s in zip(points, sizes, strict=True)], sizes, points, SIDES)
    assert not any(overlap(at[i], at[j], sizes[i], sizes[j]) for i in range(7) for j in range(i))
    assert (at >= sizes / 2).all()
    assert (at <= SIDES - sizes / 2).all()


def test_labels_keep_off_what_is_taken():
    size = np.array([30.0, 8.0])
    line = np.column_stack([np.linspace(0, 200, 101), np.full(101, 75.0)])
    (centre,) = place([around(np.array([100.0, 75.0]), size)], size[None], line, SIDES)
    assert abs(centre[1] - 75) > 4


def test_what_is_drawn_is_where_it_was_placed():
    figure = Figure(figsize=(COLUMN, 2), dpi=600)  # at which hinting no longer moves letters
    ax = figure.subplots()
    ax.set(xlim=(-3, 1), ylim=(0, 1e-9))
    figure.settle()
    (text,) = draw_labels(ax, [Label("heavy ball", "#0072B2", np.array([-1.0, 5e-10]))], np.empty((0, 2)))
    box = text.get_window_extent()
    size = np.array([text_width("heavy ball", text.get_fontsize()), (ASCENT + DESCENT) * text.get_fontsize()])
    np.testing.assert_allclose(box.size[0] * 72 / figure.dpi, size[0], rtol=0.02)
    covered = frame(ax).points(boxes(ax, [text]))
    low = (box.min - ax.bbox.min) * 72 / figure.dpi
    np.testing.assert_allclose(covered.min(axis=0), low, atol=2.0)
    np.testing.assert_allclose(np.ptp(covered, axis=0), size)
    assert len(sampled(ax, np.array([-3.0, 0.0]), np.array([1.0, 0.0]))) > 50


def at_ends(ends, names=None):
    """Axes 200 points wide and 150 high, whose data are points, with a name at each end."""
    figure = Figure(figsize=(200 / 72, 150 / 72), layout="none")
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, 200), ylim=(0, 150))
    names = names or [f"name {i}" for i in range(len(ends))]
    labels = [Label(name, "#000000", np.array(end)) for name, end in zip(names, ends, strict=True)]
    texts = draw_names(ax, labels, np.empty((0, 2)), np.empty((0, 2)))
    figure.draw_without_rendering()
    return ax, texts, [text.get_window_extent().transformed(ax.transData.inverted()) for text in texts]


def test_names_of_ends_near_one_another_lie_apart_and_off_the_ends():
    ends = [(100, 75), (108, 75), (104, 83), (60, 140)]
    _, texts, boxes = at_ends(ends)
    assert len(texts) == 4
    for i, box in enumerate(boxes):
        assert not any(box.shrunk(0.99, 0.8).overlaps(other.shrunk(0.99, 0.8)) for other in boxes[:i])
        assert not any(box.contains(*end) for end in ends)
        assert (box.min > -1).all()
        assert (box.max < [201, 151]).all()


def test_the_names_of_one_end_are_a_block_flush_with_it_in_its_order():
    ax, texts, boxes = at_ends([(190, 75), (191, 75), (190, 76)], ["NAG", "SGD with a name", "Adam $1"])
    assert [text.get_text() for text in texts] == ["NAG", "SGD with a name", "Adam $1"]
    assert [box.y0 for box in boxes] == sorted((box.y0 for box in boxes), reverse=True)
    np.testing.assert_allclose([box.x1 for box in boxes], boxes[0].x1, atol=1.5)  # left of the end, as there is room
    assert boxes[0].x1 < 190
    assert not ax.lines


def test_of_many_names_of_one_end_the_first_are_written_and_the_others_counted():
    _, texts, _ = at_ends([(100, 75)] * 7)
    assert [text.get_text() for text in texts] == ["name 0", "name 1", "name 2", "name 3", "3 more"]


def test_a_line_leads_to_a_name_that_is_far_and_none_is_written_where_there_is_no_room():
    figure = Figure(figsize=(200 / 72, 150 / 72), layout="none")
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, 200), ylim=(0, 150))
    around = np.stack(np.meshgrid(np.arange(70, 131, 2.0), np.arange(50, 101, 2.0)), axis=-1).reshape(-1, 2)
    (text,) = draw_names(ax, [Label("NAG", "#000000", np.array([100.0, 75.0]))], around, np.empty((0, 2)))
    (lead,) = ax.lines
    np.testing.assert_allclose(lead.get_xydata()[0], [100, 75])
    assert np.abs(lead.get_xydata()[1] - text.get_position()).max() < 30
    everywhere = np.stack(np.meshgrid(np.arange(0, 201, 2.0), np.arange(0, 151, 2.0)), axis=-1).reshape(-1, 2)
    assert draw_names(ax, [Label("NAG", "#000000", np.array([100.0, 75.0]))], everywhere, np.empty((0, 2))) == []
    assert at_ends([(100, 75)], ["a name of more than forty characters, which fills no frame"])[1] == []
