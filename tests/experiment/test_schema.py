"""The schema of a config: what editors check a file by."""

import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from nagviz.experiment.schema import DIALECT, config_schema

SHIPPED = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(config_schema())


def test_it_is_a_schema_of_its_draft():
    assert config_schema()["$schema"] == DIALECT == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(config_schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_experiment_that_ships_is_valid(validator, path):
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    assert list(validator.iter_errors(document)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"sead": 0},
        {"steps": 0},
        {"seed": -1},
        {"question": "Why?"},
        {"optimizers": []},
        {"optimizers": [{"kind": "nag", "momentun": 0.9}]},
        {"optimizers": [{"kind": "nag", "momentum": 1.5}]},
        {"optimizers": [{"kind": "nagg"}]},
        {"data": {"kind": "digits", "test_fraction": 2}},
        {"sinks": [{"kind": "paper"}]},
    ],
)
def test_what_a_run_refuses_of_a_key_the_schema_refuses(validator, wrong):
    document = tomllib.loads(SHIPPED[0].read_text(encoding="utf-8"))
    assert validator.is_valid(document)
    assert not validator.is_valid(document | wrong)


def test_a_run_needs_data_or_functions(validator):
    document = tomllib.loads(SHIPPED[0].read_text(encoding="utf-8"))
    assert not validator.is_valid({key: value for key, value in document.items() if key != "data"})


def test_keys_are_told_in_words():
    assert "description" in config_schema()["$defs"]["Nag"]
