"""Every test marked `interpreted`, in one process with NUMBA_DISABLE_JIT=1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stress.kernels.jit import INTERPRETED


@pytest.mark.skipif(INTERPRETED, reason="kernels are interpreted here: the tests run themselves")
def test_interpreted_tests_pass():
    root = Path(__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "interpreted and not slow", "-p", "no:cacheprovider", "tests"],
        cwd=root,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    print(ran.stdout[-20_000:])
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    assert " passed" in ran.stdout
