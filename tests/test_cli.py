"""What the command line promises: exit codes, plain words, and an answer at once."""

import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nagviz.cli import COMMANDS, main
from nagviz.experiment.config import load
from nagviz.experiment.report import Refusal

ROOT = Path(__file__).parents[1]
NAGVIZ = (sys.executable, "-m", "nagviz")
DIGITS = str(ROOT / "experiments" / "digits.toml")
TERMINAL = {**os.environ, "TERM": "xterm-256color"}


class Pipeline(ModuleType):
    """Stands for `nagviz.experiment.pipeline`: keeps its calls, and raises what it is told to."""

    def __init__(self):
        super().__init__("nagviz.experiment.pipeline")
        self.calls = []
        self.error = None

    def run(self, config, folder, *, resume=False, overwrite=False, trust=False):
        self.calls.append((config, folder, resume, overwrite, trust))
        if self.error:
            raise self.error


@pytest.fixture
def pipeline(monkeypatch):
    stub = Pipeline()
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    return stub


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "folder", "resume", "overwrite", "trust"),
    [
        ([], "runs/digits", False, False, False),
        (["--set", "name=other"], "runs/other", False, False, False),
        (["--out", "there", "--resume"], "there", True, False, False),
        (["--overwrite"], "runs/digits", False, True, False),
        (["--trust"], "runs/digits", False, False, True),
    ],
)
def test_run_hands_the_config_and_its_folder_to_the_pipeline(pipeline, words, folder, resume, overwrite, trust):
    assert main(["run", DIGITS, *words]) == 0
    overrides = words[1:] if "--set" in words else []
    assert pipeline.calls == [(load(Path(DIGITS), overrides), Path(folder), resume, overwrite, trust)]


def test_set_may_be_repeated(pipeline):
    assert main(["run", "--set", "seed=3", DIGITS, "--set", "every=1"]) == 0
    assert (pipeline.calls[0][0].seed, pipeline.calls[0][0].every) == (3, 1)


def test_mistakes_in_a_config_are_told_and_nothing_is_run(pipeline, capsys):
    assert main(["run", DIGITS, "--set", "seed=-1", "--set", "steps=x"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "--set seed=-1: seed: must be at least 0, got -1",
        "--set steps=x: steps: must be an integer, got 'x'",
    ]
    assert pipeline.calls == []


def test_a_refusal_is_told_in_its_own_words(pipeline, capsys):
    pipeline.error = Refusal("runs/digits exists; give --resume or --overwrite")
    assert main(["run", DIGITS]) == 2
    assert capsys.readouterr() == ("", "runs/digits exists; give --resume or --overwrite\n")


def test_an_interruption_is_one_line(pipeline, capsys):
    pipeline.error = KeyboardInterrupt()
    assert main(["run", DIGITS]) == 130
    assert capsys.readouterr() == ("", "interrupted; nothing was written\n")


def test_a_missing_extra_is_told_with_how_to_install_it(pipeline, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "nagviz.experiment.config")
    monkeypatch.setitem(sys.modules, "pydantic", None)
    assert main(["run", DIGITS]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "pydantic" in err
    assert err.endswith("pip install 'nagviz[experiments]'\n")


@pytest.mark.parametrize("error", [ImportError("no name"), ImportError("ours", name="nagviz.optim"), ValueError()])
def test_a_fault_of_our_own_is_not_explained_away(pipeline, error):
    pipeline.error = error
    with pytest.raises(type(error)):
        main(["run", DIGITS])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "required: COMMAND"),
        (["walk"], "invalid choice: 'walk'"),
        (["run"], "required: CONFIG"),
        (["run", DIGITS, "--over"], "unrecognized arguments: --over"),
        (["run", DIGITS, "--resume", "--overwrite"], "not allowed with argument"),
    ],
)
def test_a_wrong_command_line_is_refused(pipeline, capsys, words, reason):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert pipeline.calls == []


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS if name != "slice")])  # that is in test_cutting
def test_each_help_shows_an_example_that_works(pipeline, capsys, monkeypatch, words):
    monkeypatch.chdir(ROOT)
    assert main([*words, "--help"]) == 0
    *_, title, example = capsys.readouterr().out.splitlines()
    assert title == "example:"
    name, *arguments = shlex.split(example)
    assert name == "nagviz"
    assert main(arguments) == 0
    assert len(pipeline.calls) == 1


def test_the_version_is_told(capsys):
    import nagviz

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nagviz {nagviz.__version__}\n"


def test_help_takes_less_than_three_tenths_of_a_second():
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*NAGVIZ, "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.3


def test_a_process_that_refuses_writes_only_to_stderr_and_without_colours(tmp_path):
    Path("wrong.toml").write_text("# Does it?\nsteps = 0\n", encoding="utf-8")
    done = subprocess.run([*NAGVIZ, "run", "wrong.toml"], capture_output=True, text=True, env=TERMINAL)
    assert (done.returncode, done.stdout) == (2, "")
    assert "wrong.toml:2: steps: must be at least 1, got 0" in done.stderr.splitlines()
    assert "\x1b" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.toml"]


def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*NAGVIZ, "--version"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
