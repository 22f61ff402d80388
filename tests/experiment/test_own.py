"""Code of the user's own runs when it is trusted, and only then; what is wrong with it is told by its key."""

import csv
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from nagviz.cli import main
from nagviz.experiment import own
from nagviz.experiment.report import Refusal
from nagviz.landscape import load_slice

DIGITS = Path(__file__).parents[2] / "experiments" / "digits.toml"
CODE = """
from pathlib import Path
from math import prod
import jax.numpy as jnp
from flax import nnx
from nagviz.experiment.models import Model

Path("imported").touch()
number = 3


def flat(inputs):
    return inputs.reshape(len(inputs), -1)


def linear(params, inputs):
    return flat(inputs) @ params["w"]


def make(sample_shape, outputs, seed):
    rngs = nnx.Rngs(seed)
    size = prod(sample_shape)
    return nnx.Sequential(flat, nnx.BatchNorm(size, rngs=rngs), nnx.Linear(size, outputs, rngs=rngs))


def pure(sample_shape, outputs, seed):
    return Model({"w": jnp.zeros((prod(sample_shape), outputs))}, linear)


def wide(sample_shape, outputs, seed):
    return pure(sample_shape, outputs + 1, seed)


def whole(sample_shape, outputs, seed):
    return Model({"w": jnp.zeros((prod(sample_shape), outputs), int)}, linear)


def empty(sample_shape, outputs, seed):
    return Model({}, lambda params, inputs: inputs)


def stateful(sample_shape, outputs, seed):
    return nnx.Sequential(nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.Linear(64, 10, rngs=nnx.Rngs(0)))


def nothing(sample_shape, outputs, seed):
    pass


def few(sample_shape):
    pass


def failing(sample_shape, outputs, seed):
    raise ValueError("of mine")


def squares(outputs, targets):
    return jnp.mean((outputs - jnp.eye(10)[targets]) ** 2)


def each(outputs, targets):
    return outputs[:, 0]


def right(outputs, targets):
    return (outputs.argmax(-1) == targets).sum()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine_of_tests.py").write_text(CODE)
    (tmp_path / "broken_of_tests.py").write_text("import no_such_module_of_tests")
    (tmp_path / "wrong_of_tests.py").write_text("1 +")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("mine_of_tests", "broken_of_tests", "wrong_of_tests", "example_of_tests"):
        sys.modules.pop(name, None)


def test_the_example_that_the_documentation_gives_makes_a_model_of_digits(folder):
    example = own.__doc__.partition("# my_models.py")[2].partition("\n")[2].partition("    # in the config")[0]
    (folder / "example_of_tests.py").write_text(textwrap.dedent(example))
    made = own.make_model("example_of_tests:make", (8, 8, 1), 10, 0)
    assert made.apply(made.params, np.zeros((2, 8, 8, 1), np.float32)).shape == (2, 10)


def run(*settings, flags=("--trust",)):
    small = ["steps=2", "every=1", "slice.grid=3", "optimizers=[{kind='nag', learning_rate=0.1}]"]
    words = [word for setting in [*small, *settings] for word in ("--set", setting)]
    return main(["run", str(DIGITS), "--out", "run", *words, *flags])


def model(name):
    return f"model={{kind='own', function='mine_of_tests:{name}'}}"


def loss(name):
    return f"loss={{function='mine_of_tests:{name}'}}"


def test_without_trust_nothing_is_imported_and_every_key_is_named(folder, capsys):
    assert run(model("make"), loss("squares"), flags=[]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["model.function", "loss.function"]
    assert all("--trust" in line and "mine_of_tests" in line for line in lines)
    assert not (folder / "imported").exists()
    assert not (folder / "run").exists()


def test_a_model_and_a_loss_of_ones_own_are_trained_and_cut(folder, capsys):
    before = list(sys.path)
    assert run(model("make"), loss("squares")) == 0
    assert (folder / "imported").exists()
    assert sys.path == before
    with (folder / "run" / "results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["train loss"]) < 1
    assert 0 < float(row["test accuracy"]) <= 1
    assert main(["slice", "run", "--problem", "none"]) == 2
    assert "--trust" in capsys.readouterr().err
    assert main(["slice", "run", "--problem", "none", "--trust"]) == 2
    assert "--problem: 'none' is none of this run's" in capsys.readouterr().err
    assert load_slice(folder / "run" / "slices" / "0.zarr").statistics == "recomputed"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (model("wide"), "the outputs must be (2, 10), floating-point, got (2, 11) of float32"),
        (model("whole"), "params['w'] must be an array of floating-point numbers"),
        (model("empty"), "must have parameters to train, got none"),
        (model("stateful"), "layers/0 drops a share of 0.5 at random"),
        (model("nothing"), "must return a Flax nnx module or a nagviz.experiment.models.Model, got NoneType"),
        (model("few"), "must take (sample_shape, outputs, seed), got few(sample_shape): too many"),
        (model("number"), "mine_of_tests:number must be a function, got int"),
        (model("maek"), "module mine_of_tests has no 'maek'; did you mean 'make'?"),
        ("model={kind='own', function='none_of_tests:make'}", "there is no module none_of_tests, neither in /"),
        ("model={kind='own', function='broken_of_tests:make'}", "could not be imported: No module named 'no_such_mod"),
        ("model={kind='own', function='wrong_of_tests:make'}", "could not be imported: SyntaxError: "),
        (loss("each"), "each must return a floating-point scalar, got shape (2,) of float32"),
        (loss("right"), "right must return a floating-point scalar, got shape () of int32"),
        (loss("make"), "must take (outputs, targets), got make(sample_shape, outputs, seed): missing"),
    ],
)
def test_code_that_does_not_fit_is_refused_by_its_key_before_the_run(folder, capsys, setting, reason):
    assert run(setting) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{setting.partition('=')[0]}.function: ")
    assert reason in said
    assert not (folder / "run").exists()


def test_a_fault_in_it_keeps_its_traceback():
    with pytest.raises(ValueError, match="of mine") as caught:
        run(model("failing"))
    assert caught.traceback[-1].path.name == "mine_of_tests.py"


def test_parameters_and_a_pure_function_are_a_model():
    made = own.make_model("mine_of_tests:pure", (3,), 2, 0)
    assert made.params["w"].shape == (3, 2)


def test_a_function_may_stand_in_a_package_and_in_a_class(folder):
    (folder / "package_of_tests").mkdir()
    (folder / "package_of_tests" / "inner.py").write_text("class A:\n    def f(x): return x\n")
    assert own.resolve("package_of_tests.inner:A.f")(3) == 3
    with pytest.raises(Refusal, match=r"^here: there is no module package_of_tests\.outer"):
        own.resolve("package_of_tests.outer:f", "here")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (
            "model={kind='cnn', channels=[4, 4, 4, 4]}",
            "model: 4 pools of 2 x 2 need images of at least 16 pixels a side",
        ),
        ("model={kind='article'}", "model: the article's network takes 100 numbers a sample"),
        ("model={kind='transformer'}", "model.kind: 'transformer' is for characters, and the data are for classif"),
        ("model={kind='autoencoder', hidden=[8], code=2}", "model.kind: 'autoencoder' is for reconstruction, and"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused_before_the_run(folder, capsys, setting, reason):
    assert run(setting, flags=[]) == 2
    assert reason in capsys.readouterr().err
    assert not (folder / "run").exists()
