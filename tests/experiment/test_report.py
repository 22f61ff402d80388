"""Progress where there is no terminal, and tables."""

import csv
import getpass
import json
import math
import platform
import re
from pathlib import Path

import numpy as np
import pandas
import pytest
import rich.progress

from nagviz.experiment import report


def test_a_folder_of_another_config_that_is_no_text_is_told_in_words(tmp_path):
    (tmp_path / "config.toml").write_bytes(b"seed = \xff\n")
    with pytest.raises(report.Refusal, match="exists and holds no run; name another folder"):
        report.start_folder(tmp_path, "seed = 0\n", {}, resume=False, overwrite=False)
    assert (tmp_path / "config.toml").read_bytes() == b"seed = \xff\n"


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


ROWS = [
    {"optimizer": "NAG", "step": 0, "loss": 1 / 3},
    {"optimizer": "NAG", "step": 1, "loss": math.inf},
    {"optimizer": "NAG", "step": 2, "loss": math.nan},
]


def strict(line):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(line, parse_constant=refuse)


def test_metrics_are_json_line_by_line_with_every_digit_and_in_words_what_is_no_number():
    rows = [strict(line) for line in report.jsonl(ROWS).splitlines()]
    assert rows[0] == ROWS[0]
    assert [row["loss"] for row in rows[1:]] == [None, None]
    assert [row["not_finite"] for row in rows[1:]] == ["loss = inf", "loss = nan"]


def test_pandas_reads_metrics_as_columns_of_numbers(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(report.jsonl(ROWS))
    table = pandas.read_json(tmp_path / "metrics.jsonl", lines=True)
    assert table["loss"].dtype == np.float64
    assert table["loss"].isna().tolist() == [False, True, True]


def test_the_table_as_csv_holds_every_digit():
    (row, *_) = csv.DictReader(report.comma_separated(ROWS).splitlines())
    assert float(row["loss"]) == 1 / 3


def test_the_environment_names_versions_and_devices_and_nobody():
    told = report.environment()
    text = json.dumps(told)
    assert told["python"] == platform.python_version()
    assert told["devices"] == ["cpu 0: cpu"]
    assert {"nagviz", "jax", "optax", "numpy", "platform"} <= told.keys()
    assert str(Path.home()) not in text
    for private in (getpass.getuser(), platform.node()):
        assert private not in re.findall(r"\w+", text)


def test_overwriting_takes_what_is_the_runs_and_leaves_the_rest(tmp_path):
    def start(**flags):
        report.start_folder(tmp_path, "steps = 1", {}, **{"resume": False, "overwrite": False} | flags)

    start()
    for name in ("landscape.svg", "slices/0.seen.zarr", "tensorboard/NAG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    for name in ("landscape.txt", "notes.md"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "wandb" / "run").mkdir(parents=True)
    (tmp_path / "wandb" / "latest-run").symlink_to("run")  # as Weights & Biases does
    with pytest.raises(report.Refusal, match="--overwrite"):
        start()
    start(overwrite=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"landscape.txt", "notes.md", "config.toml", "environment.json"}
    assert not any((tmp_path / "wandb").iterdir())


@pytest.mark.parametrize(("name", "text"), [("environment.json", "{"), ("config.toml", "[[")])
def test_a_damaged_file_of_a_run_is_told_before_it_is_resumed(tmp_path, name, text):
    report.start_folder(tmp_path, "steps = 1", {}, resume=False, overwrite=False)
    (tmp_path / name).write_text(text)
    with pytest.raises(report.Refusal, match=f"{name} is damaged"):
        report.start_folder(tmp_path, "steps = 1", {}, resume=True, overwrite=False)
