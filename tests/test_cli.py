"""What the command line promises: exit codes, plain words, and an answer at once."""

import io
import os
import resource
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
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

    def run(self, config, folder, *, resume=False, overwrite=False, trust=False, mesh=None):
        del mesh
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


def test_an_interrupted_run_tells_the_words_that_go_on_with_it(pipeline, capsys):
    folder = Path("of mine")
    folder.mkdir()
    (folder / "config.toml").write_text("")
    pipeline.error = KeyboardInterrupt()
    assert main(["run", DIGITS, "--out", str(folder), "--trust"]) == 130
    words = "nagviz run 'of mine/config.toml' --out 'of mine' --resume --trust"
    assert capsys.readouterr().err == f"interrupted; what is done is kept: {words} goes on with it\n"


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


TWO = "optimizers=[{kind='nag', learning_rate=0.1}, {kind='sgd', learning_rate=0.1}]"
SMALL = ["steps=20", "every=2", "slice.grid=3", "training.batch_size=32", "model.hidden=[8]", TWO]
REDUCED = {  # what makes the work of an example small
    "run": [word for setting in SMALL for word in ("--set", setting)],
    "slice": ["--grid", "3"],
}


def example(*words):
    """The line that a help ends with."""
    said = io.StringIO()
    with redirect_stdout(said):
        assert main([*words, "--help"]) == 0
    *_, title, line = said.getvalue().splitlines()
    assert title == "example:"
    name, *arguments = shlex.split(line)
    assert name == "nagviz"
    return arguments


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder in which examples are typed: the experiments, and the run that the first example makes."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "experiments").symlink_to(ROOT / "experiments")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*example("run"), *REDUCED["run"]]) == 0
    return folder


def test_the_example_of_the_help_is_that_of_run():
    assert example() == example("run")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_shows_an_example_that_works(workplace, monkeypatch, command):
    monkeypatch.chdir(workplace)
    line = example(command)
    assert line[0] == command
    if command == "run":
        assert (workplace / "runs" / "digits" / "results.md").is_file()
    else:
        assert main([*line, *REDUCED.get(command, [])]) == 0


def test_the_list_tells_what_each_experiment_asks_and_expects(workplace, capsys, monkeypatch):
    monkeypatch.chdir(workplace)
    for path in (ROOT / "experiments").glob("*.toml"):
        lines = path.read_text().strip().splitlines()
        assert main(["list", "--long"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert f"experiments/{path.name} {lines[0].removeprefix('# ')} {lines[-1].removeprefix('# ')}" in told
        assert main(["list"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert lines[0].removeprefix("# ") in told
        assert lines[-1].removeprefix("# ") not in told


def test_a_broken_file_is_listed_with_its_fault(capsys):
    Path("good.toml").write_text((ROOT / "experiments" / "rosenbrock.toml").read_text())
    Path("bad.toml").write_text("# Does it?\nsteps = 0\n")
    Path("odd.toml").write_bytes(b"\xff")
    assert main(["list", "."]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "bad.toml"
    assert "  is no run: 2: steps: must be at least 1, got 0" in out
    assert out[out.index("odd.toml") + 1] == "  is no run: is not UTF-8; save it in that encoding, as TOML asks"
    assert out[out.index("good.toml") + 1].startswith("  Who follows")


def test_a_folder_without_experiments_is_refused(tmp_path, capsys):
    assert main(["list"]) == 2
    assert capsys.readouterr() == (
        "",
        "experiments has no *.toml in it; name a folder that has, as nagviz list FOLDER\n",
    )


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


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as where users type
RUN = "run odd.toml --out run"
CONFIG = """\
# Who turns first?
name = "odd"
steps = 4
optimizers = [{ kind = "nag", learning_rate = 1e-3 }]
functions = [{ kind = "rosenbrock", start = [-1.5, 2.0], x = [-2.0, 2.0], y = [-1.0, 3.0] }]
slice.grid = 3
"""
WHOLE = {"curves.png", "landscape.png", "landscape.pdf", "results.md", "results.csv", "metrics.jsonl"}


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (">/dev/full", ["standard output: No space left on device; what was to be printed is lost, files are whole"]),
        (">&- 2>&-", []),
    ],
)
def test_output_that_cannot_be_written_loses_no_file(tmp_path, way, said):
    """The whole run is done, and ends in one clear line."""
    Path("odd.toml").write_text(CONFIG)
    line = shlex.join([*NAGVIZ, *RUN.split()])
    done = subprocess.run(["bash", "-c", f"{line} {way}"], env=BUFFERED, capture_output=True, text=True, check=False)
    assert done.returncode == 74
    assert [text for text in done.stderr.splitlines() if not text.startswith("[")] == said  # but for the progress
    assert {path.name for path in (tmp_path / "run").iterdir()} >= WHOLE


@pytest.mark.parametrize(
    ("way", "code", "said"),
    [
        ("--version >/dev/full", 74, "standard output: No space left on device; what was to be printed is lost"),
        ("--version >&-", 74, "standard output: Bad file descriptor; what was to be printed is lost"),
        ("run missing.toml >&-", 2, "missing.toml: does not exist; name a TOML file, such as those in experiments/"),
        ("run missing.toml 2>&-", 2, ""),
        ("run missing.toml 2>/dev/full", 2, ""),
    ],
)
def test_a_short_answer_that_cannot_be_written_is_one_line(way, code, said):
    line = f"{shlex.join(NAGVIZ)} {way}"
    done = subprocess.run(["bash", "-c", line], env=BUFFERED, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == bool(said)
    assert done.stderr.startswith(said)
