"""A headless browser for the tests that look at pages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = {"desktop": 1200, "phone": 390}


def browse(address: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page; what it logs to its console comes with `stderr`."""
    quiet = ("quic", "gpu", "background-networking", "component-update", "sync", "default-apps", "extensions")
    command = [BROWSER, "--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars"]
    command += [f"--user-data-dir={address.with_name('profile')}", *(f"--disable-{what}" for what in quiet)]
    command += ["--enable-logging=stderr", *options, address.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
