"""Every benchmark case runs, and its severities are what they are called; nothing is timed here."""

from __future__ import annotations

from tests.benchmarks.registry import cases


def test_cases_run_and_severities_differ():
    found = {case.name: case for case in cases(paths=1)}
    for case in found.values():
        assert case.units > 0
        assert case.work() is not None
    shares = [found[f"engine/{name}"].facts["share_liquidated"] for name in ("quiet", "fall", "crash")]
    assert shares[0] == 0
    assert 0.02 < shares[1] < 0.3 < shares[2]
