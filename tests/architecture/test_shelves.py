"""A file on a shelf is whole: it says what it does, from where, within which limits, and is tested."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

from stress import mechanisms, paths
from stress.glossary import HEADINGS
from stress.mechanisms import shelf

ROOT = Path(__file__).parents[2]
LAYER_HEADINGS = ("Equations", "Parameters", "Calibration", "Cannot")


def headings(module: str) -> list[str]:
    document = inspect.getdoc(importlib.import_module(module)) or ""
    return re.findall(r"^([A-Z][a-z]+) {2,}\S", document, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(shelf()))
def test_mechanism_says_stage_formula_source_invariants_limits(name):
    module = f"{mechanisms.__name__}.{name}"
    assert headings(module) == list(HEADINGS)
    stage = re.search(r"^Stage +(\w+)\.", inspect.getdoc(importlib.import_module(module)), re.MULTILINE)
    assert stage[1] == shelf()[name].stage


@pytest.mark.parametrize("name", sorted(shelf()))
def test_mechanism_has_a_unit_test_and_a_property(name):
    assert (ROOT / f"tests/unit/test_mechanism_{name}.py").is_file()
    properties = "\n".join(file.read_text() for file in (ROOT / "tests/property").glob("test_*.py"))
    assert re.search(rf"^def test_{name}_", properties, re.MULTILINE), f"no property test_{name}_… in tests/property"


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(paths.__path__)])
def test_path_layer_says_equations_parameters_calibration_and_what_it_cannot(name):
    found = headings(f"{paths.__name__}.{name}")
    wanted = LAYER_HEADINGS[-1:] if name == "replay" else LAYER_HEADINGS  # history has no equations to fit
    assert [heading for heading in found if heading in LAYER_HEADINGS] == list(wanted)


@pytest.mark.parametrize("name", sorted(shelf()))
def test_every_parameter_of_a_mechanism_is_described(name):
    fields = shelf()[name].parameters.model_fields
    assert [field for field, info in fields.items() if field != "rule" and not info.description] == []
