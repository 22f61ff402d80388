"""Progress where there is no terminal, and tables."""

from nagviz.experiment import report


def test_plain_lines_come_now_and_then_and_tell_what_is_left(monkeypatch, capsys):
    """Eight rows: after 12 seconds two are done, so six more take 36."""
    clock = iter([0.0, 1.0, 5.0, 12.0, 14.0, 15.0])
    monkeypatch.setattr(report.time, "monotonic", lambda: next(clock))
    with report.progress(8) as advance:
        advance("slice", 0)
        rows = report.each_row(advance, "slice")
        for done in range(1, 4):
            rows(done, 8)
        advance("figure", 5)
    assert capsys.readouterr().err.splitlines() == [
        "[  0%] slice",
        "[ 25%] slice, about 36 s left",
        "[100%] figure, about 0 s left",
    ]


def test_a_stroke_in_a_name_does_not_break_a_table():
    assert report.markdown([{"optimizer": "a|b"}]).splitlines()[2] == r"| a\|b      |"
