"""Every validation case, dispatched by `family`: the checks are the numbers of its `expected`.

    pytest tests/validation/test_cases.py --cases DIR        any folder of files of the same schema

A number for which a family has no check, or a check with fewer than 50 events, is not run: it is named
in the summary with its reason. An unknown family fails.
"""

from __future__ import annotations

import pytest

from tests.conftest import NOT_RUN
from tests.validation.cases import Case, Check, NotRun, left_out, read_cases
from tests.validation.families import FAMILIES, NOT_BUILT

MORE_PATHS = 16  # in the slow form


def checks_of(case: Case) -> list[Check]:
    """Return at least one check for every number of the case."""
    if case.family in NOT_BUILT:
        return [left_out(case, "all", NOT_BUILT[case.family])]
    if case.family not in FAMILIES:
        return [_fails("unknown", f"family {case.family!r} is unknown; known: {', '.join(FAMILIES)}", case)]
    try:
        checks = list(FAMILIES[case.family](case))
    except (KeyError, TypeError, ValueError, ArithmeticError) as wrong:
        return [_fails("unreadable", f"{type(wrong).__name__}: {wrong}", case)]
    without = case.expected.keys() - {check.key for check in checks}
    return checks + [left_out(case, key, "this family has no check of it") for key in sorted(without)]


def _fails(how, reason, case):
    def run():
        pytest.fail(f"{case.file}: case {case.name}: {reason}")

    return Check("all", how, run)


def pytest_generate_tests(metafunc):
    scale = 1 if metafunc.definition.get_closest_marker("slow") is None else MORE_PATHS
    cases = read_cases(metafunc.config.getoption("cases"), scale)
    checks = [(case, check) for case in cases for check in checks_of(case)]
    if scale > 1:
        checks = [(case, check) for case, check in checks if check.how == "simulated"]
    ids = [f"{case.name}-{case.family}-{check.key}-{check.how.replace(' ', '_')}" for case, check in checks]
    metafunc.parametrize("check", [check for _, check in checks], ids=ids)


@pytest.fixture
def outcome(request):
    """Run a check; what could not be run is named in the summary (tests/conftest.py)."""

    def run(check):
        try:
            check.run()
        except NotRun as reason:
            request.config.stash.setdefault(NOT_RUN, []).append((request.node.name, str(reason)))
            pytest.skip(f"not run: {reason}")

    return run


def test_case(check, outcome):
    outcome(check)


@pytest.mark.slow
def test_case_in_full(check, outcome):
    outcome(check)
