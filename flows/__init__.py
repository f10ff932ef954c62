"""Orchestration with Prefect: thin, no arithmetic; the library below never imports it.

Importing this package settles where Prefect lives, before Prefect is imported: a home inside
`results/` unless the user points to a server or a home, loopback only, telemetry off.
"""

import os
import time
from pathlib import Path

STARTED = time.perf_counter()

_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_API_HOST": "127.0.0.1",
    # A new home makes its database first: about 20 s, Prefect's own limit, and more on a busy machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}

for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
if "PREFECT_API_URL" not in os.environ and "PREFECT_HOME" not in os.environ:
    _home = Path("results/.prefect").resolve()
    _home.mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder only
    os.environ["PREFECT_HOME"] = str(_home)
