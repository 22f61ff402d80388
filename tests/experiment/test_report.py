"""Progress where there is no terminal, and tables."""

import rich.progress

from nagviz.experiment import report


def test_plain_lines_come_now_and_then_and_tell_what_is_left(monkeypatch, capsys):
    """Eight rows: after 12 seconds two are done, so six more take 36."""
    clock = iter([0.0, 1.0, 5.0, 12.0, 14.0, 15.0])
    monkeypatch.setattr(report.time, "monotonic", lambda: next(clock))
    with report.progress(8) as advance:
        rows = report.each_row(advance, "slice")
        for done in range(4):
            rows(done, 8)
        advance("figure", 5)
    assert capsys.readouterr().err.splitlines() == [
        "[  0%] slice",
        "[ 25%] slice, about 36 s left",
        "[100%] figure, about 0 s left",
    ]


def test_rows_that_were_kept_say_nothing_of_the_pace(monkeypatch, capsys):
    """Six of eight rows lay on disk, then one took 12 seconds: so will the last."""
    clock = iter([0.0, 0.0, 12.0])
    monkeypatch.setattr(report.time, "monotonic", lambda: next(clock))
    with report.progress(8) as advance:
        rows = report.each_row(advance, "slice")
        rows(6, 8)
        rows(7, 8)
    assert capsys.readouterr().err.splitlines() == ["[ 75%] slice", "[ 88%] slice, about 12 s left"]


def test_the_bar_of_a_terminal_tells_the_same(monkeypatch, capsys):
    assert rich.progress  # keeps the clock that it was imported with
    clock = iter([0.0, 0.0, 12.0])
    monkeypatch.setattr(report.time, "monotonic", lambda: next(clock))
    with report._bar(8) as advance:
        rows = report.each_row(advance, "slice")
        rows(6, 8)
        rows(7, 8)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("slice ")
    assert " 88% " in last
    assert last.rstrip().endswith("about 12 s left")


def test_work_that_is_spared_is_done_and_leaves_the_pace_alone(monkeypatch, capsys):
    """Ten steps in 20 seconds; of 20 that are left none were needed, the other ten take 20 more."""
    clock = iter([0.0, 20.0, 20.0, 21.0])
    monkeypatch.setattr(report.time, "monotonic", lambda: next(clock))
    with report.progress(40) as advance:
        advance("NAG", 10)
        advance("NAG", 20, spared=True)
        advance("SGD", 0)
    assert capsys.readouterr().err.splitlines()[-1] == "[ 75%] SGD, about 21 s left"


def test_a_stroke_in_a_name_does_not_break_a_table():
    assert report.markdown([{"optimizer": "a|b"}]).splitlines()[2] == r"| a\|b      |"
