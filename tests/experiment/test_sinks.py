"""Where else what was measured goes. TensorBoard's files are read back; the two services have stand-ins here."""

import math
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from tensorboardX.proto.event_pb2 import Event

from nagviz.cli import main
from nagviz.experiment.config import load
from nagviz.experiment.report import Refusal
from nagviz.experiment.sinks import open_sinks, require_sinks, send

ROSENBROCK = Path(__file__).parents[2] / "experiments" / "rosenbrock.toml"
ROWS = [
    {"optimizer": name, "step": step, "train loss": 1 / (step + 1), "test accuracy": math.nan, "restarted": True}
    for name in ("NAG", "heavy ball")
    for step in (0, 4)
]


def config(*kinds):
    tables = ", ".join(f"{{kind='{kind}'}}" for kind in kinds)
    return load(ROSENBROCK, [f"sinks=[{tables}]"])


def events(folder):
    """Scalars of TensorBoard's files: by run and tag, steps and values."""

    found = {}
    for file in sorted(folder.glob("tensorboard/*/events*")):
        data = file.read_bytes()
        while data:  # length, its checksum, event, its checksum
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                found.setdefault((file.parent.name, value.tag), []).append((event.step, value.simple_value))
    return found


def test_tensorboard_is_given_every_number_once_also_when_sent_again(tmp_path):
    for _ in range(2):
        send(config("tensorboard"), tmp_path, ROWS)
        (file,) = tmp_path.glob("tensorboard/NAG/events*")
        file.rename(file.with_name("events.of.another.second"))
    found = events(tmp_path)
    assert set(found) == {(run, tag) for run in ("NAG", "heavy_ball") for tag in ("train_loss", "test_accuracy")}
    assert found["NAG", "train_loss"] == [(0, 1.0), (4, pytest.approx(0.2))]
    assert [math.isnan(value) for _, value in found["heavy_ball", "test_accuracy"]] == [True, True]


def test_names_that_no_folder_has_stay_apart(tmp_path):
    with open_sinks(config("tensorboard"), tmp_path) as log:
        for name in ("a/b", "a b", ".."):
            log(name, 0, {"loss": 1.0})
    assert {path.name for path in (tmp_path / "tensorboard").iterdir()} == {"a_b", "a_b_", "_"}


def test_a_run_sends_what_it_measured(tmp_path):
    one = "functions=[{kind='rosenbrock', start=[-1, 1], x=[-2, 2], y=[-1, 3]}]"
    words = [
        "steps=4",
        "slice.grid=3",
        "sinks=[{kind='tensorboard'}]",
        one,
        "optimizers=[{kind='nag', learning_rate=1e-3}]",
    ]
    settings = [word for setting in words for word in ("--set", setting)]
    assert main(["run", str(ROSENBROCK), "--out", str(tmp_path / "run"), *settings]) == 0
    assert [step for step, _ in events(tmp_path / "run")["NAG", "loss"]] == [0, 1, 2, 3, 4]


class Service(ModuleType):
    """Stands for `wandb` and `trackio`: keeps what it is given."""

    def __init__(self, name):
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.said = []
        self.error = None

    def init(self, **about):
        if self.error:
            raise self.error
        self.said.append(("init", about))
        print("welcome")
        return self

    Run = ModuleType

    def log(self, values, step):
        self.said.append(("log", values, step))

    def finish(self, exit_code=None):
        self.said.append(("finish", exit_code))


@pytest.fixture(params=["wandb", "trackio"])
def service(request, monkeypatch):
    made = Service(request.param)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def test_a_service_is_given_a_run_for_each_optimizer(service, tmp_path):
    run = config(service.__name__)
    require_sinks(run)
    send(run, tmp_path, ROWS)
    begun = [about for what, *(about, *_) in service.said if what == "init"]
    assert [about["name"].removeprefix("rosenbrock: ") for about in begun] == ["NAG", "heavy ball"]
    assert {about["group"] for about in begun} == {"rosenbrock"}
    assert begun[0]["config"]["steps"] == 400
    logged = [words for words in service.said if words[0] == "log"]
    assert [step for *_, step in logged] == [0, 4, 0, 4]
    assert logged[1][1]["train loss"] == 0.2
    assert set(logged[1][1]) == {"train loss", "test accuracy"}
    assert [what for what, *_ in service.said].count("finish") == 2


def test_weights_and_biases_sends_nothing_away_unasked(service, tmp_path):
    send(config(service.__name__), tmp_path, ROWS)
    (_, about), *_ = service.said
    assert about.get("mode", "offline") == "offline"


def test_what_a_service_prints_does_not_come_between_the_results(service, tmp_path, capsys):
    send(config(service.__name__), tmp_path, ROWS)
    assert "welcome" not in capsys.readouterr().out


def test_a_service_that_fails_says_so_and_that_the_run_is_whole(service, tmp_path):
    service.error = RuntimeError("not logged in")
    with pytest.raises(Refusal, match=r"sinks: RuntimeError: not logged in; the files in .* are whole"):
        send(config(service.__name__), tmp_path, ROWS)


@pytest.mark.parametrize(
    ("kind", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb"), ("trackio", "trackio")]
)
def test_a_package_that_is_missing_is_told_before_anything_is_done(tmp_path, capsys, monkeypatch, kind, package):
    monkeypatch.setattr("nagviz.experiment.sinks.find_spec", lambda name: None)
    words = ["run", str(ROSENBROCK), "--out", str(tmp_path / "run"), "--set", f"sinks=[{{kind='{kind}'}}]"]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"sinks.0: {kind} needs the package {package}, which is not installed: pip install {package}"
    assert not (tmp_path / "run").exists()


def test_trials_are_told_apart_by_what_differs(service, tmp_path):
    rows = [{"optimizer": "NAG", "learning_rate": rate, "seed": 3, "step": 0, "loss": 1.0} for rate in (0.1, 0.2)]
    send(config(service.__name__), tmp_path, rows)
    names = [about["name"].removeprefix("rosenbrock: ") for what, *(about, *_) in service.said if what == "init"]
    assert names == ["NAG, at 0.1", "NAG, at 0.2"]


def test_no_sink_package_is_loaded_for_a_run_that_names_none(tmp_path):
    with open_sinks(config(), tmp_path) as log:
        log("NAG", 0, {"loss": 1.0})
    assert not {"tensorboard", "wandb"} & {path.name for path in tmp_path.iterdir()}
