"""A run is checked key by key: every mistake is told, at its line, before anything is computed."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from nagviz.experiment.config import ConfigError, dump, load
from nagviz.experiment.tables.runs import DataRun, FunctionRun

SHIPPED = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

DATA = """\
# Does it?
name = "a"
seed = 0
steps = 600
every = 5
[data]
kind = "digits"
test_fraction = 0.25
[model]
kind = "mlp"
hidden = [32]
[training]
batch_size = 64
[plane]
kind = "pca"
[slice]
grid = 51
margin = 0.2
[[optimizers]]
kind = "nag"
learning_rate = 0.1
momentum = 0.9
[[optimizers]]
kind = "adam"
learning_rate = 0.1
"""

FUNCTIONS = """\
# Who turns first?
name = "b"
steps = 400
every = 5
[[functions]]
kind = "rosenbrock"
start = [-1.5, 2.0]
x = [-2.0, 2.0]
y = [-1, 3]
steps = 100
learning_rates = { NAG = 1e-3, "heavy ball" = 2e-3 }
[[functions]]
kind = "quadratic"
start = [-1.5, 2.0]
x = [-2.0, 2.0]
y = [-1.0, 3.0]
[[optimizers]]
kind = "nag"
learning_rate = 0.1
[[optimizers]]
kind = "heavy_ball"
learning_rate = 0.1
"""

KINDS = (
    "allowed: adagrad, adam, adamw, agnes, ema_nesterov, heavy_ball, item, lion, mass, muon, nadam, nag, ogm, "
    "optax_nag, outer_nesterov, primal_averaging, qhm, rmsprop, robust_momentum, schedule_free, "
    "schedule_free_adamw, schedule_free_sgd, sgd, triple_momentum"
)
NAG_KEYS = (
    "allowed: kind, name, learning_rate, learning_rate_schedule, clip, weight_decay, evaluate, decay_at, restart, "
    "momentum, schedule"
)
ROOT_KEYS = (
    "allowed: name, seed, seeds, steps, every, snapshots, lookahead, checkpoint_every, measure_every, observe, slice, "
    "family, table, noise, optimizers, sinks, data, model, training, sharpness, loss, plane, projection, functions"
)
SETS = (
    "allowed: breast_cancer, characters, cifar10, diabetes, digits, fashion_mnist, hf, mnist, mnist1d, mnist_subset, "
    "npz, text, tfds, wine"
)
DIGITS_KEYS = "allowed: kind, validation_fraction, limit, test_fraction, task"
CHOICE = "a run has functions, or data with a model and training, or both"

# In place of what, write what, and get which answers (each after "run.toml:").
IN_DATA = [
    # numbers
    ("seed = 0", "seed = -1", "3: seed: must be at least 0, got -1"),
    ("seed = 0", "seed = 4294967296", "3: seed: must be less than 4294967296, got 4294967296"),
    ("seed = 0", "seed = true", "3: seed: must be an integer, got true"),
    ("seed = 0", "seed = 1.0", "3: seed: must be an integer, got 1.0"),
    ("seed = 0", "seed = 9223372036854775808", "3: seed: must fit in 64 bits"),
    ("seed = 0", f"seed = 0x{'f' * 9999}", "3: seed: must fit in 64 bits"),
    ("= 600", "= true", "4: steps: must be an integer, got true"),
    ("= 600", "= 0", "4: steps: must be at least 1, got 0"),
    ("= 600", "= 5000000000", "4: steps: must be at most 1000000000, got 5000000000"),
    ("= 5\n", "= 7\n", "5: every: must divide steps = 600, got 7"),
    ("= 5\n", "= 0\n", "5: every: must be at least 1, got 0"),
    ("= 0.25", "= 1.0", "8: data.test_fraction: must be less than 1, got 1.0"),
    ("= 0.25", "= 0", "8: data.test_fraction: must be greater than 0, got 0"),
    ("= 64", "= 16777217", "13: training.batch_size: must be at most 16777216, got 16777217"),
    ("= 51", "= 1", "17: slice.grid: must be at least 3, got 1"),
    ("= 51", "= 2003", "17: slice.grid: must be at most 2001, got 2003"),
    ("= 51", "= 50", "17: slice.grid: must be odd, since the centre must lie on the grid, got 50"),
    ("= 0.2\n", "= -0.1\n", "18: slice.margin: must be at least 0, got -0.1"),
    ("= 0.2\n", "= 11\n", "18: slice.margin: must be at most 10, got 11"),
    ("= 0.1\nm", "= 0\nm", "21: optimizers.0.learning_rate: must be greater than 0, got 0"),
    ("= 0.1\nm", "= nan\nm", "21: optimizers.0.learning_rate: must be a finite number, got nan"),
    ("= 0.1\nm", "= -inf\nm", "21: optimizers.0.learning_rate: must be a finite number, got -inf"),
    ("= 0.1\nm", "= 1e999\nm", "21: optimizers.0.learning_rate: must be a finite number, got inf"),
    ("= 0.1\nm", f"= {10**400}\nm", "21: optimizers.0.learning_rate: must fit in 64 bits"),
    (
        "= 0.1\nm",
        "= 1e300\nm",
        "21: optimizers.0.learning_rate: must be at most 3.4e38 in size, as float32 is, got 1e+300",
    ),
    ("= 0.1\nm", "= 1e-39\nm", "21: optimizers.0.learning_rate: must be 0 or at least 1.2e-38 in size, got 1e-39"),
    ("= 0.1\nm", "= '1'\nm", "21: optimizers.0.learning_rate: must be a number, got '1'"),
    ("= 0.1\nm", "= false\nm", "21: optimizers.0.learning_rate: must be a number, got false"),
    ("= 0.9", "= 1.5", "22: optimizers.0.momentum: must be less than 1, got 1.5"),
    ("= 0.9", "= 1979-05-27", "22: optimizers.0.momentum: must not be a date or a time, got 1979-05-27"),
    # words
    ('= "a"', "= 07:32:00", "2: name: must not be a date or a time, got 07:32:00"),
    ('= "a"', "= 1", "2: name: must be a string, got 1"),
    (
        '= "a"',
        f"= '{'a' * 65}'",
        "2: name: must have 64 or fewer characters, got 'aaaaaaaaaaaa...aaaaaaaaaaaaa'",
    ),
    ('= "adam"', '= "adam"\nname = ""', "25: optimizers.1.name: must have 1 or more characters, got ''"),
    (
        '= "adam"',
        f'= "adam"\nname = "{"a" * 41}"',
        "25: optimizers.1.name: must have 40 or fewer characters, got 'aaaaaaaaaaaa...aaaaaaaaaaaaa'",
    ),
    (
        '= "adam"',
        '= "adam"\nname = "a "',
        "25: optimizers.1.name: must be printable, without blanks at its ends, got 'a '",
    ),
    (
        '= "adam"',
        '= "adam"\nname = "a\\u0007"',
        r"25: optimizers.1.name: must be printable, without blanks at its ends, got 'a\x07'",
    ),
    # arrays and tables
    ("[32]", "[]", "11: model.hidden: must have 1 or more entries, got []"),
    ("[32]", "[0]", "11: model.hidden.0: must be at least 1, got 0"),
    ("[32]", "[1, 65537]", "11: model.hidden.1: must be at most 65536, got 65537"),
    ("[32]", f"{[1] * 17}", "11: model.hidden: must have 16 or fewer entries, got an array of 17"),
    ("[32]", "32", "11: model.hidden: must be an array, as [1, 2], or tables under [[NAME]], got 32"),
    ("[slice]", "[[slice]]", "16: slice: must be a table, got an array of 1"),
    (
        "[slice]",
        "[data.slice]",
        f"16: data.slice: is no known key; {DIGITS_KEYS}",
    ),
    # what is there, and what is missing
    ("seed", "sead", f"3: sead: is no known key; did you mean 'seed'? {ROOT_KEYS}"),
    ("seed = 0", '"se ed" = 0', f"3: \"se ed\": is no known key; did you mean 'seed'? {ROOT_KEYS}"),
    ("seed = 0", "question = 'Why?'", "3: question: is the comment on the first line, not a key"),
    (
        "momentum",
        "momentun",
        f"22: optimizers.0.momentun: is no known key; did you mean 'momentum'? {NAG_KEYS}",
    ),
    ("momentum", "nag", f"22: optimizers.0.nag: is no known key; {NAG_KEYS}"),
    ("steps = 600\n", "", "1: steps: is missing"),
    ("batch_size = 64", "", "12: training.batch_size: is missing"),
    (
        "learning_rate = 0.1\nm",
        "m",
        "19: optimizers.0.learning_rate: is missing, and data does not know a largest curvature",
    ),
    ("[training]\nbatch_size = 64", "", "1: training: is missing"),
    # kinds
    (
        '"nag"',
        '"nagg"',
        f"20: optimizers.0.kind: must be a known kind, got 'nagg'; did you mean 'nag'? {KINDS}",
    ),
    ('"nag"', "3", f"20: optimizers.0.kind: must be a known kind, got 3; {KINDS}"),
    ('"nag"', "[]", f"20: optimizers.0.kind: must be a known kind, got []; {KINDS}"),
    ('"nag"', "1979-05-27", "20: optimizers.0.kind: must not be a date or a time, got 1979-05-27"),
    ('kind = "nag"', "", f"19: optimizers.0.kind: is missing; {KINDS}"),
    (
        '"pca"',
        '"pcb"',
        "15: plane.kind: must be a known kind, got 'pcb'; did you mean 'pca'? allowed: hessian, pca, points, random",
    ),
    ('kind = "digits"', "", f"6: data.kind: is missing; {SETS}"),
    ('"digits"', '"digit"', f"7: data.kind: must be a known kind, got 'digit'; did you mean 'digits'? {SETS}"),
    (
        "= 0.25",
        '= 0.25\ntask = "regression"',
        "9: data.task: must be a known kind, got 'regression'; allowed: classification, reconstruction",
    ),
    ("= 0.25", "= 0.25\npath = 3", f"9: data.path: is no known key; {DIGITS_KEYS}"),
    ("= 0.25", "= 0.25\nlimit = 0", "9: data.limit: must be at least 1, got 0"),
    ("= 0.25", "= 0.25\nvalidation_fraction = 1", "9: data.validation_fraction: must be less than 1, got 1"),
    # models
    (
        "hidden = [32]",
        "hidden = [32]\nactivation = 'gelu'",
        "12: model.activation: must be a known kind, got 'gelu'; did you mean 'relu'? allowed: relu, tanh, sigmoid",
    ),
    *(
        ('kind = "mlp"\nhidden = [32]', f"{given}\n", answer)
        for given, answer in (
            ('kind="resnet"\ndepth=21', "11: model.depth: must be 6n + 2, as 20 or 56, got 21"),
            ('kind="resnet"\nskip=1', "11: model.skip: must be true or false, got 1"),
            ('kind="resnet"\nshortcut="C"', "11: model.shortcut: must be a known kind, got 'C'; allowed: A, B"),
            (
                'kind="resnet"\nskip=false\nshortcut="A"',
                "12: model.shortcut: must be left out where skip is false, got 'A'",
            ),
            ('kind="transformer"\nwidth=10\nheads=3', "12: model.heads: must divide width = 10, got 3"),
            ('kind="own"', "9: model.function: is missing"),
            (
                'kind="own"\nfunction="a.b"',
                '11: model.function: must be "module:function", as "my_models:make", got \'a.b\'',
            ),
        )
    ),
    ("[training]", "[loss]\n[training]", "12: loss.function: is missing"),
    (
        "[training]",
        "[loss]\nfunction = 'a:b'\nfunktion = 1\n[training]",
        "14: loss.funktion: is no known key; did you mean 'function'? allowed: function",
    ),
    # names
    (
        '"adam"',
        '"nag"',
        "23: optimizers.1.name: is that of optimizers.0, too, got 'NAG'; give it a name of its own",
    ),
    (
        '"adam"',
        '"adam"\nname = "NAG"',
        "25: optimizers.1.name: is that of optimizers.0, too, got 'NAG'; give it a name of its own",
    ),
    # no TOML
    ("seed = 0", "seed = ", "3: is not TOML: Invalid value"),
    ("= 0.9\n", '= """\n\n', "22: is not TOML: Unterminated string"),
    ("seed = 0", "name = 'b'", "3: is not TOML: Cannot overwrite a value"),
    (
        "seed = 0",
        "seed = " + "9" * 5000,
        "3: has a number of thousands of digits, or hundreds of nested brackets",
    ),
    (
        "seed = 0",
        "seed = " + "[" * 5000,
        "3: has a number of thousands of digits, or hundreds of nested brackets",
    ),
]

IN_FUNCTIONS = [
    (
        '[[functions]]\nkind = "r',
        '[[functions]]\nkind = "o',
        "6: functions.0.kind: must be a known kind, got 'oosenbrock'; "
        "did you mean 'rosenbrock'? allowed: beale, logistic, quadratic, rastrigin, rosenbrock",
    ),
    ("start = [-1.5, 2.0]", "start = [-1.5]", "7: functions.0.start.1: is missing"),
    (
        "start = [-1.5, 2.0]",
        "start = [1, 2, 3]",
        "7: functions.0.start: must have 2 or fewer entries, got [1, 2, 3]",
    ),
    ("start = [-1.5, 2.0]", "start = [1, inf]", "7: functions.0.start.1: must be a finite number, got inf"),
    (
        "y = [-1, 3]",
        "y = [3, 3.0]",
        "9: functions.0.y: must increase from its first number to its second, by more than float32 rounds, "
        "got [3, 3.0]",
    ),
    ("steps = 100", "steps = 101", "10: functions.0.steps: must be a multiple of every = 5, got 101"),
    ("= 2e-3", "= 0", '11: functions.0.learning_rates."heavy ball": must be greater than 0, got 0'),
    (
        "NAG =",
        "nag =",
        "11: functions.0.learning_rates.nag: is the name of no optimizer; allowed: NAG, heavy ball",
    ),
    (
        '"heavy ball" =',
        "heavyball =",
        "11: functions.0.learning_rates.heavyball: is the name of no optimizer; "
        "did you mean 'heavy ball'? allowed: NAG, heavy ball",
    ),
    (
        '"quadratic"\n',
        '"quadratic"\ncondition_number = 0.5\n',
        "14: functions.1.condition_number: must be at least 1, got 0.5",
    ),
    (
        '"quadratic"\n',
        '"rosenbrock"\n',
        "12: functions.1.name: is that of functions.0, too, got 'rosenbrock'; give it a name of its own",
    ),
    ("every = 5", "every = 5\nslice.margin = 0.1", "5: slice.margin: is no known key; allowed: grid"),
    (
        'heavy_ball"\nlearning_rate = 0.1',
        'heavy_ball"\nlearning_rate = 0.1\n[[optimizers]]\nkind = "sgd"',
        "23: optimizers.2.learning_rate: is missing, and functions.0 does not know a largest curvature",
    ),
    (
        'kind = "nag"\nlearning_rate = 0.1',
        'kind = "triple_momentum"\nname = "NAG"',
        "17: optimizers.0.condition_number: is missing, and functions.0 does not know one",
    ),
]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes run.toml, seen from its folder, so that mistakes begin with its bare name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        path = Path("run.toml")
        path.write_bytes(text.encode())
        return path

    return write


def tables(text: str) -> tuple[str, str]:
    """The functions and the optimizers of a run."""
    functions, _, optimizers = text[text.index("[[f") :].partition("[[o")
    return functions, "[[o" + optimizers


def mistakes(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    assert str(caught.value) == "\n".join(caught.value.mistakes)
    return [mistake.removeprefix("run.toml:") for mistake in caught.value.mistakes]


@pytest.mark.parametrize(("old", "new", "answer"), IN_DATA)
def test_a_mistake_in_a_run_on_data_is_told_at_its_line(write, old, new, answer):
    assert old in DATA
    assert mistakes(write(DATA.replace(old, new, 1))) == [answer]


@pytest.mark.parametrize(("old", "new", "answer"), IN_FUNCTIONS)
def test_a_mistake_in_a_run_on_functions_is_told_at_its_line(write, old, new, answer):
    assert old in FUNCTIONS
    assert mistakes(write(FUNCTIONS.replace(old, new, 1))) == [answer]


@pytest.mark.parametrize("name", ["", "..", ".a", "a..b", "a.", "a/b", "a b", "a\n", "ä", "-a"])
def test_a_name_that_is_no_folder_is_refused(write, name):
    path = write(DATA.replace('"a"', json.dumps(name)))
    assert mistakes(path) == [
        "2: name: must begin with a letter or digit, and go on with those, dashes, underscores and single "
        f"dots, got {name!r}"
    ]


@pytest.mark.parametrize("name", ["a", "0", "A_b-c.d", "a" * 64])
def test_a_name_that_is_a_folder_is_taken(write, name):
    assert load(write(DATA.replace('"a"', f'"{name}"'))).name == name


def test_every_mistake_comes_at_once_in_the_order_of_the_file(write):
    wrong = {
        "= 600": "= 0",
        "seed": "sead",
        '"digits"': '"mnyst"',
        "= 51": "= 50",
        "= 0.9": "= inf",
        '"adam"': '"nag"',
    }
    text = DATA
    for old, new in wrong.items():
        text = text.replace(old, new, 1)
    keys = [mistake.split(": ")[:2] for mistake in mistakes(write(text), "training.batch_size=0", "x=1")]
    assert keys == [
        ["3", "sead"],
        ["4", "steps"],
        ["7", "data.kind"],
        ["17", "slice.grid"],
        ["22", "optimizers.0.momentum"],
        ["23", "optimizers.1.name"],
        ["--set training.batch_size=0", "training.batch_size"],
        ["--set x=1", "x"],
    ]


def test_a_statement_over_several_lines_is_told_at_its_first(write):
    text = """\
# Does it?

steps = 10
name = \"\"\"
[data]
kind = 1
\"\"\"
data = { kind = "digits", test_fraction = 2 }  # [model]
training.batch_size = 0
model.kind = "mlp"
model.hidden = [
    # not
    1,
    [],

    -1,
]
optimizers = [
  { kind = "sgd" },
  # kind = "nag"
  { kind = "nag", learning_rate = 1 },
]
seed = -1"""
    found = [mistake.split(": ")[:2] for mistake in mistakes(write(text))]
    assert found == [
        ["4", "name"],
        ["8", "data.test_fraction"],
        ["9", "training.batch_size"],
        ["11", "model.hidden.1"],
        ["11", "model.hidden.2"],
        ["18", "optimizers.0.learning_rate"],
        ["23", "seed"],
    ]
    assert mistakes(write(text.replace("\n", "\r\n"))) == mistakes(write(text))


def test_a_run_is_on_data_or_on_functions(write):
    head, (functions, optimizers) = FUNCTIONS[: FUNCTIONS.index("[[f")], tables(FUNCTIONS)
    data = DATA[DATA.index("[data]") : DATA.index("[plane]")]
    assert load(write(head.replace("every", "slice.margin = 0.1\nevery") + functions + data + optimizers)).functions
    for key in ("plane.kind = 'pca'", "projection.seed = 3"):
        (mistake,) = mistakes(write(f"{head}{key}\n{functions}{optimizers}"))
        said = "is of a run on data, which has data, model, training; leave it out, or give these"
        assert mistake.endswith(f" {key.partition('.')[0]}: {said}")
    neither = f"1: data: is missing, and so are functions: {CHOICE}"
    assert mistakes(write(head + optimizers)) == [neither]
    misspelt = f"5: functons: is no known key; did you mean 'functions'? {ROOT_KEYS}"
    assert mistakes(write(head + functions.replace("functions", "functons") + optimizers)) == [
        neither,
        misspelt,
    ]
    assert mistakes(write(head + data.replace("[data]\nkind", "[dato]\nkind") + optimizers))[0] == "1: data: is missing"


def test_tables_that_do_not_belong_together_are_still_checked(write):
    text = DATA.replace("= 64", "= 0") + FUNCTIONS[FUNCTIONS.index("[[functions]]") :].replace("y = [-1, 3]", "y = 1")
    keys = [mistake.split(": ")[1] for mistake in mistakes(write(text))]
    assert {"training.batch_size", "functions.0.y"} <= set(keys)


@pytest.mark.parametrize(
    ("old", "new", "answers"),
    [
        ('"nag"', '"nagg"', ["18: optimizers.0.kind"]),
        ('"heavy_ball"', '"nagg"\nname = 3', ["21: optimizers.1.kind"]),
        ("0.1\n", "0.1\nname = 3\n", ["20: optimizers.0.name", "24: optimizers.1.name"]),
        (
            "[[optimizers]]\n",
            "[[optimizers]]\n[[optimizers]]\n",
            ["17: optimizers.0.kind", "21: optimizers.2.kind"],
        ),
        (FUNCTIONS[FUNCTIONS.index("[[o") :], "", ["1: optimizers"]),
    ],
)
def test_a_name_that_cannot_be_told_makes_no_mistake_elsewhere(write, old, new, answers):
    found = mistakes(write(FUNCTIONS.replace(old, new)))
    assert [": ".join(mistake.split(": ")[:2]) for mistake in found] == answers


def test_nesting_without_end_is_a_mistake_and_no_crash(write):
    found = mistakes(write(DATA.replace("seed = 0", "seed = " + "[" * 100 + "]" * 100)))
    assert found == [
        "3: seed.0.0.0.0.0.0.0.0: is nested too deeply",
        "3: seed: must be an integer, got an array of 1",
    ]


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("optimizers.0.momentum=7", "optimizers.0.momentum: must be less than 1, got 7"),
        ("optimizers.0={}", f"optimizers.0.kind: is missing; {KINDS}"),
        ("slice.grid=50", "slice.grid: must be odd, since the centre must lie on the grid, got 50"),
        ("slice.grid=1_000.5", "slice.grid: must be an integer, got 1000.5"),
        ("slice.grid=fine", "slice.grid: must be an integer, got 'fine'"),
        ("name=2024-01-01", "name: must not be a date or a time, got 2024-01-01"),
        ("every=7", "every: must divide steps = 600, got 7"),
        (
            "optimizers.1.name=NAG",
            "optimizers.1.name: is that of optimizers.0, too, got 'NAG'; give it a name of its own",
        ),
        ("slize.grid=51", f"slize: is no known key; did you mean 'slice'? {ROOT_KEYS}"),
        ("optimizers.2.momentum=0", "optimizers.2: optimizers has 2 entries, counted from 0"),
        ("optimizers.-1.momentum=0", "optimizers.-1: an array is indexed by 0, 1, ..., not by '-1'"),
        ("optimizers.nag.momentum=0", "optimizers.nag: an array is indexed by 0, 1, ..., not by 'nag'"),
        (f"optimizers.{'9' * 5000}=0", f"optimizers.{'9' * 5000}: optimizers has 2 entries, counted from 0"),
        ("optimizers=[1]", "optimizers.0: must be a table, got 1"),
        ("optimizers=1", "optimizers: must be an array, as [1, 2], or tables under [[NAME]], got 1"),
        ("steps.a=0", "steps: is 600, which has no 'a' in it"),
        ("a.b.c.d.e.f.g.h.i=0", "a.b.c.d.e.f.g.h.i: has more than 8 parts"),
        ("model.hidden=[1", 'model.hidden: must be set to one value of TOML, as 7, "text" or [1, 2]'),
        (
            "data.path=data/x",
            'data.path: must be set to one value of TOML, as 7, "text" or [1, 2], as data.path=\'"data/x"\' would be',
        ),
        ("steps=", 'steps: must be set to one value of TOML, as 7, "text" or [1, 2]'),
        ("steps=1\nseed = 2", 'steps: must be set to one value of TOML, as 7, "text" or [1, 2]'),
        ("steps=[" + "[" * 5000, 'steps: must be set to one value of TOML, as 7, "text" or [1, 2]'),
        ("steps", "must be KEY=VALUE, as in optimizers.0.momentum=0.99"),
        ("=1", "must be KEY=VALUE, as in optimizers.0.momentum=0.99"),
        ("data..kind=1", "must be KEY=VALUE, as in optimizers.0.momentum=0.99"),
        ("name=\udcff", "must be KEY=VALUE, as in optimizers.0.momentum=0.99"),
        ("\udcff=1", "must be KEY=VALUE, as in optimizers.0.momentum=0.99"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_as_it_was_typed(write, setting, answer):
    assert mistakes(write(DATA), setting) == [f"--set {setting}: {answer}"]


def test_mistakes_on_the_command_line_come_with_those_of_a_file_that_is_no_toml(write):
    found = mistakes(write("name = "), "steps", "optimizers.9.momentum=1", "seed=[")
    assert [mistake.split(": ")[0] for mistake in found] == ["1", "--set steps", "--set seed=["]


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        (["seed=1"], lambda run: run.seed == 1),
        (["seed = 1 "], lambda run: run.seed == 1),
        (["seed=1", "seed=0x10"], lambda run: run.seed == 16),
        (["name = b "], lambda run: run.name == "b"),
        (["name=b-2.c"], lambda run: run.name == "b-2.c"),
        (['name="b"'], lambda run: run.name == "b"),
        (["model.hidden=[1, 2]"], lambda run: run.model.hidden == (1, 2)),
        (["model.hidden=[1, 2]", "model.hidden.1=3"], lambda run: run.model.hidden == (1, 3)),
        (["optimizers.1.name=my Adam 2"], lambda run: run.optimizers[1].name == "my Adam 2"),
        (["optimizers.0.momentum=0"], lambda run: run.optimizers[0].momentum == 0),
        (["optimizers.0={kind='sgd', learning_rate=1}"], lambda run: run.optimizers[0].name == "SGD"),
    ],
)
def test_the_command_line_overrides_the_file(write, settings, value):
    assert not value(load(write(DATA)))
    assert value(load(write(DATA), settings))


def test_the_command_line_reaches_names_with_blanks_and_dots(write):
    path = write(
        FUNCTIONS.replace('"heavy_ball"', '"heavy_ball"\nname = "mu=0.9"').replace(', "heavy ball" = 2e-3', "")
    )
    run = load(path, ['functions.1.learning_rates."mu=0.9"=2', "functions.0.learning_rates={}"])
    assert [function.learning_rates for function in run.functions] == [{}, {"mu=0.9": 2}]
    assert load(write(FUNCTIONS), ["functions.1.learning_rates.heavy ball=3"]).functions[1].learning_rates == {
        "heavy ball": 3
    }


def test_what_an_override_brings_in_is_its_own_mistake(write):
    found = mistakes(write(DATA), "optimizers.1={}", "optimizers.1.kind=nag", "plain.a=1", "optimizers.0.b=1")
    assert [mistake.split(": ")[:2] for mistake in found] == [
        ["--set optimizers.1={}", "optimizers.1.learning_rate"],
        ["--set optimizers.1={}", "optimizers.1.name"],
        ["--set plain.a=1", "plain"],
        ["--set optimizers.0.b=1", "optimizers.0.b"],
    ]


def test_the_last_override_of_a_key_answers_for_it(write):
    table, entry = "optimizers.0={kind='nag', learning_rate=1, momentum=8}", "optimizers.0.momentum=7"
    for settings in ([table, entry], [entry, table]):
        assert [mistake.split(": ")[0] for mistake in mistakes(write(DATA), *settings)] == [f"--set {settings[1]}"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "does not exist; name a TOML file, such as those in experiments/"),
        (lambda path: path.mkdir(), "is a folder; name a TOML file in it"),
        (lambda path: path.write_bytes(b"# \xff"), "is not UTF-8; save it in that encoding, as TOML asks"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_read_is_told_with_a_remedy(tmp_path, make, reason):
    path = tmp_path / "run.toml"
    make(path)
    assert mistakes(path) == [f"{path}: {reason}"]


@pytest.mark.parametrize(
    ("first", "question"),
    [
        ("# Does it?", "Does it?"),
        ("\n#Does it? \r", "Does it?"),
        ("\ufeff# Does it?", "Does it?"),
        ("## é # 2\n# and more", "é # 2"),
        ("#", ""),
        ("", ""),
        ("version = 1 # not this", ""),
    ],
)
def test_the_question_is_the_comment_on_the_first_line(write, first, question):
    text = DATA.replace("# Does it?", first).replace("version = 1 #", "seed = 1 #")
    text = text.replace("seed = 0\n", "", "seed = 1" in text)
    assert load(write(text)).question == question


@pytest.mark.parametrize(
    "text",
    [
        DATA,
        FUNCTIONS,
        DATA.replace("# Does it?\n", ""),
        DATA.replace("Does it?", "é # \u2028 ?"),
        DATA.replace(
            '"adam"',
            r"""'adam'
name = 'a "b" \u00e9 = $x_1$'""",
        ),
        DATA.replace("= 0.1\n", "= 1.1754943508222875e-38\n"),
    ],
)
def test_what_is_dumped_loads_as_an_equal_run(write, text):
    run = load(write(text))
    assert load(write(dump(run))) == run
    assert dump(load(write(dump(run)))) == dump(run)


@pytest.mark.parametrize("file", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda file: file.stem)
def test_each_experiment_that_ships_comes_back_from_its_dump(write, file):
    run = load(file)
    assert run.question.endswith("?")
    assert load(write(dump(run))) == run


def test_a_dump_begins_with_the_question_and_fills_in_the_defaults(write):
    text = DATA.replace("seed = 0\n", "").replace("[slice]\ngrid = 51\nmargin = 0.2\n", "")
    dumped = dump(load(write(text)))
    assert dumped.startswith("# Does it?\n")
    filled = tomllib.loads(dumped)
    assert (filled["seed"], filled["slice"]) == (0, {"grid": 51, "margin": 0.2})
    assert filled["optimizers"][1] == {
        "kind": "adam",
        "name": "Adam",
        "learning_rate": 0.1,
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_is_shipped_loads_and_asks_a_question(path):
    run = load(path)
    assert run.question.endswith("?")
    assert run.name == path.stem


def test_both_forms_of_run_are_shipped():
    assert {type(load(path)) for path in SHIPPED} == {DataRun, FunctionRun}


def test_a_run_never_changes(write):
    run = load(write(DATA))
    with pytest.raises(ValueError, match="frozen"):
        run.seed = 1


# Parts of an optimizer's table, and grids, that need one another: set what, and get which answer.
TOGETHER = [
    (
        ["optimizers.1.decay_at=iterate"],
        ["optimizers.1.decay_at: says where weight_decay is taken, and there is none; give it, or leave this out"],
    ),
    (
        ["optimizers.1.restart={kind='gradient'}"],
        ["optimizers.1.restart: is of a look-ahead, and there is none; give lookahead, as 0.9, or leave it out"],
    ),
    (
        ["optimizers.1.lookahead=0.9", "optimizers.1.outer={}"],
        ["optimizers.1.outer: goes around an optimizer that has no look-ahead of its own; leave one of them out"],
    ),
    (
        ["optimizers.1.learning_rate_schedule={kind='warmup_cosine', warmup=600}"],
        ["optimizers.1.learning_rate_schedule.warmup: must be less than the 600 steps of all, got 600"],
    ),
    (
        ["optimizers.1.learning_rate_schedule={kind='warmup_cosine', warmup=9, steps=9}"],
        ["optimizers.1.learning_rate_schedule.warmup: must be less than the 9 steps of all, got 9"],
    ),
    (
        ["optimizers.1.learning_rate_schedule={kind='warmup_cosine', warmup=700, steps=900}"],
        [
            "optimizers.1.learning_rate_schedule.steps: must be at most the 600 steps of the run, or the learning rate "
            "never comes to its end, got 900"
        ],
    ),
    (
        ["optimizers.1.learning_rate_schedule={kind='step', factor=0.1, at=[5, 600]}"],
        [
            "optimizers.1.learning_rate_schedule.at: must be less than the 600 steps of the run, or the learning rate "
            "never changes there, got [5, 600]"
        ],
    ),
    (
        ["optimizers.1.outer={steps=601}"],
        ["optimizers.1.outer.steps: must be at most the 600 steps of the run, or there is no outer step, got 601"],
    ),
    (
        ["steps=5", "optimizers.1.outer={}"],
        [
            "optimizers.1.outer.steps: must be at most the 5 steps of the run, or there is no outer step, "
            "got 10, the default"
        ],
    ),
    (
        ["optimizers.1={kind='outer_nesterov', learning_rate=0.1, steps=700}"],
        ["optimizers.1.steps: must be at most the 600 steps of the run, or there is no outer step, got 700"],
    ),
    (
        ["optimizers.0.restart={kind='periodic', period=601}"],
        ["optimizers.0.restart.period: must be at most the 600 steps of the run, or there is no restart, got 601"],
    ),
    (
        ["optimizers.1={kind='nag', name='b', learning_rate=1, schedule={kind='sutskever', maximum=1, period=600.5}}"],
        [
            "optimizers.1.schedule.period: must be at most the 600 steps of the run, or the momentum never rises, "
            "got 600.5"
        ],
    ),
    (
        ["steps=5", "optimizers.1={kind='nag', name='b', learning_rate=1, schedule={kind='sutskever', maximum=1}}"],
        [
            "optimizers.1.schedule.period: must be at most the 5 steps of the run, or the momentum never rises, "
            "got 250.0, the default"
        ],
    ),
    (
        [
            "optimizers.1={kind='nag', name='b', learning_rate=1, "
            "schedule={kind='sutskever', maximum=1, final_steps=601}}"
        ],
        [
            "optimizers.1.schedule.final_steps: must be at most the 600 steps of the run, or there are not so many to "
            "be the last, got 601"
        ],
    ),
    (
        ["optimizers.0.restart={kind='speed', min_age=601}"],
        ["optimizers.0.restart.min_age: must be at most the 600 steps of the run, or there is no restart, got 601"],
    ),
    (
        ["optimizers.1={kind='ogm', learning_rate=0.1, horizon=601}"],
        [
            "optimizers.1.horizon: must be at most the 600 steps of the run, or its last coefficients are never used, "
            "got 601"
        ],
    ),
    (
        ["optimizers.1.learning_rate_schedule={kind='exponential', factor=0.5, steps=601}"],
        [
            "optimizers.1.learning_rate_schedule.steps: must be at most the 600 steps of the run, or it never falls so "
            "far, got 601"
        ],
    ),
    (
        ["every=1", "snapshots=602"],
        ["snapshots: must be at most 601, the start and each of the 600 steps, got 602"],
    ),
    (
        ["optimizers.1.learning_rate_schedule={kind='step', factor=0.1, at=[5, 5]}"],
        ["optimizers.1.learning_rate_schedule.at: must increase from each number to the next, got [5, 5]"],
    ),
    (
        ["optimizers.1.learning_rate_schedule={kind='exponential', factor=0.5, step=2}"],
        [
            "optimizers.1.learning_rate_schedule.step: is no known key; did you mean 'steps'? "
            "allowed: kind, factor, steps"
        ],
    ),
    (
        ["optimizers.1.learning_rate=[0.1, 0.2]"],
        [
            "optimizers.1.learning_rate: is a grid, of which validation data choose, or the steps to training.target; "
            "give data.validation_fraction, or one number"
        ],
    ),
    (["optimizers.1.learning_rate=[]"], ["optimizers.1.learning_rate: must have 1 or more entries, got []"]),
    (
        ["data.validation_fraction=0.1", "optimizers.1.learning_rate=[0.1, 0]"],
        ["optimizers.1.learning_rate.1: must be greater than 0, got 0"],
    ),
    (["optimizers.1.learning_rate=[1, 1.0]"], ["optimizers.1.learning_rate: must hold no number twice, got [1, 1.0]"]),
    (["optimizers.1.outer={steps=0}"], ["optimizers.1.outer.steps: must be at least 1, got 0"]),
    (["optimizers.1.clip=0"], ["optimizers.1.clip: must be greater than 0, got 0"]),
    (["optimizers.1.weight_decay=-1"], ["optimizers.1.weight_decay: must be at least 0, got -1"]),
    (
        ["optimizers.0.restart={kind='perodic'}"],
        [
            "optimizers.0.restart.kind: must be a known kind, got 'perodic'; did you mean 'periodic'? "
            "allowed: function, gradient, periodic, speed"
        ],
    ),
    (
        ["optimizers.1.lookahead=0.9", "optimizers.1.restart={kind='speed', min_age=0}"],
        ["optimizers.1.restart.min_age: must be at least 1, got 0"],
    ),
    (
        ["seed=4294967295", "seeds=2"],
        ["seeds: must leave the last seed, seed + seeds - 1, less than 4294967296, got 2"],
    ),
    (
        ["plane={kind='random', around='Adm'}"],
        ["plane.around: is the name of no optimizer; did you mean 'Adam'? allowed: NAG, Adam"],
    ),
    (
        ["plane={kind='points'}"],
        ["plane.kind: goes through the ends of three paths, and there are 2; take another plane"],
    ),
    (
        ["plane={kind='random', sead=1}"],
        ["plane.sead: is no known key; did you mean 'seed'? allowed: kind, reach, around, seed"],
    ),
]


@pytest.mark.parametrize(("settings", "answers"), TOGETHER)
def test_what_does_not_go_together_is_told_by_its_key(write, settings, answers):
    found = mistakes(write(DATA.replace('[plane]\nkind = "pca"\n', "")), *settings)
    assert [mistake.partition(": ")[2] for mistake in found] == answers


GRID = "optimizers.1.learning_rate=[0.1, 0.2]"


def test_a_grid_needs_what_chooses_of_it_and_a_place_on_the_map(write):
    validated = "data.validation_fraction=0.1"
    assert load(write(DATA), [GRID, validated]).optimizers[1].learning_rate == (0.1, 0.2)
    run = load(write(DATA), [GRID, validated])
    assert load(write(dump(run))) == run
    (mistake,) = mistakes(write(DATA), GRID.replace("1", "0", 1), "family={condition_number=10}", validated)
    assert mistake.endswith("is a grid, which has no one place on the map of [family]; give one number")


def test_on_functions_nothing_is_random_and_nothing_chooses(write):
    (mistake,) = mistakes(write(FUNCTIONS), "seeds=2")
    assert mistake.endswith("must be 1 where a run has functions alone: nothing is random there, got 2")
    (mistake,) = mistakes(write(FUNCTIONS), GRID)
    assert mistake.endswith(
        "optimizers.1.learning_rate: is a grid, of which validation data choose, and functions.1 has none; "
        "give one number, or the function's own under its learning_rates"
    )


@pytest.mark.parametrize("number", [3.4028234663852886e38, 1.1754943508222875e-38])
def test_every_number_that_float32_holds_is_taken(tmp_path, number):
    assert np.isfinite(np.float32(number))
    assert np.float32(number) > 0
    file = tmp_path / "run.toml"
    file.write_text(DATA)
    assert load(file, [f"optimizers.0.learning_rate={number}"]).optimizers[0].learning_rate == number


def test_a_line_for_editors_is_not_the_question(tmp_path):
    file = tmp_path / "run.toml"
    for text in (f"#:schema nagviz.schema.json\n{DATA}", DATA.replace("?\n", "?\n#:schema nagviz.schema.json\n", 1)):
        file.write_text(text)
        assert load(file).question == "Does it?"


def test_what_is_too_long_for_one_problem_of_several_is_not_refused(write):
    long = "optimizers.0.learning_rate_schedule={kind='cosine', steps=400}"  # one function has 100 steps, the other 400
    assert load(write(FUNCTIONS), [long]).optimizers[0].learning_rate_schedule.steps == 400
    (mistake,) = mistakes(write(FUNCTIONS), long.replace("400", "401"))
    assert "must be at most the 400 steps of the run" in mistake


def test_a_function_may_not_be_called_as_the_data_are(write):
    function = "functions=[{kind='quadratic', name='digits', start=[1.0, 1.0], x=[-1.0, 1.0], y=[-1.0, 1.0]}]"
    assert any("functions.0.name: is that of the data, too" in found for found in mistakes(write(DATA), function))
