"""Options, the fixed Hypothesis profile, and how tests that need interpreted kernels are run.

Compiling one combination of rules takes about half a minute, so tests that compose rules at random
carry the marker `interpreted`. They run where NUMBA_DISABLE_JIT=1 is set. Elsewhere they are deselected,
the summary says so, and `tests/test_interpreted.py` runs them in one process of their own.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from stress.kernels.jit import INTERPRETED

settings.register_profile(
    "fixed",
    max_examples=100,
    derandomize=True,  # the same examples in every run
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("nightly", parent=settings.get_profile("fixed"), max_examples=2000, derandomize=False)
settings.load_profile("fixed")

DESELECTED = pytest.StashKey[dict[str, int]]()
NOT_RUN = pytest.StashKey[list[tuple[str, str]]]()  # validation checks: name, reason


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases",
        type=Path,
        default=Path(__file__).parent / "validation",
        metavar="DIR",
        help="folder of *.json files with validation cases; default: those of this project",
    )

    parser.addoption(
        "--vectors",
        type=Path,
        default=Path(__file__).parent / "peer",
        metavar="DIR",
        help="folder of *.json files with test vectors of venues; default: those of this project",
    )

    parser.addoption(
        "--market-data",
        type=Path,
        default=Path("../shared/data"),
        metavar="DIR",
        help="folder of market data, which do not ship with the project; tests that need them say when it is absent",
    )


@pytest.fixture
def market_data(request: pytest.FixtureRequest) -> Path:
    """The folder of market data; the test is reported as not run, with the reason, where it is absent."""
    folder: Path = request.config.getoption("--market-data")
    if not folder.is_dir():
        pytest.skip(f"not run: no market data at {folder}; name the folder with --market-data DIR")
    return folder


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "interpreted: composes rules at random; runs with NUMBA_DISABLE_JIT=1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = {} if INTERPRETED else {"interpreted": "need NUMBA_DISABLE_JIT=1; tests/test_interpreted.py runs them"}
    if not config.option.markexpr:
        left_out |= {"slow": "run with `-m slow` (make slow)", "e2e": "run with `-m e2e` (make e2e)"}
    counts: dict[str, int] = {}
    kept, deselected = [], []
    for item in items:
        reason = next((reason for marker, reason in left_out.items() if item.get_closest_marker(marker)), None)
        (kept if reason is None else deselected).append(item)
        if reason is not None:
            counts[reason] = counts.get(reason, 0) + 1
    config.stash[DESELECTED] = counts
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if counts := config.stash.get(DESELECTED, {}):
        terminalreporter.section("left out")
        for reason, count in counts.items():
            terminalreporter.write_line(f"{count} tests {reason}")
    if not_run := config.stash.get(NOT_RUN, []):
        terminalreporter.section("validation checks not run")
        for name, reason in not_run:
            terminalreporter.write_line(f"{name}: {reason}")
