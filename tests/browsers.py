"""Which browser the tests drive: an installed Chromium, Chrome or Edge.

``python tests/browsers.py`` says which one that is. If there is none, it fetches one that needs no
administrator.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, sync_playwright

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "microsoft-edge-stable",
    "chrome",
    "msedge",
)
MAC = (
    "Google Chrome.app/Contents/MacOS/Google Chrome",
    "Chromium.app/Contents/MacOS/Chromium",
    "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
WINDOWS = (
    "Google/Chrome/Application/chrome.exe",
    "Chromium/Application/chrome.exe",
    "Microsoft/Edge/Application/msedge.exe",
)
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
FETCH = (sys.executable, "-m", "playwright", "install", "--no-shell", "chromium")
INSTALL = "apt install chromium (Debian), or anywhere: python -m playwright install chromium"


class NoBrowser(Exception):
    """There is no browser that the tests can drive; the sentence says how to get one."""


def places(env: dict[str, str] | os._Environ[str] = os.environ) -> list[str]:
    """Where a browser may be: what the user names, what the path holds, usual folders."""
    named = [env["TINYREPTILE_BROWSER"]] if env.get("TINYREPTILE_BROWSER") else []
    on_path = [shutil.which(name, path=env.get("PATH")) for name in NAMES]
    homes = [Path("/"), Path(env.get("HOME", "/"))]
    mac = [str(home / "Applications" / app) for home in homes for app in MAC]
    programs = [env.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")]
    windows = [str(Path(folder) / app) for folder in programs if folder for app in WINDOWS]
    return [*named, *(found for found in on_path if found), *mac, *windows]


def candidates(playwright_own: str, where: Callable[[], list[str]] = places) -> list[str]:
    """Browsers that are there, the ones to try first in front."""
    return [each for each in dict.fromkeys([*where(), playwright_own]) if Path(each).is_file()]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser without a window.

    Raises `NoBrowser` if none is there, or none of those that are there starts.
    """
    with sync_playwright() as playwright:
        reasons = []
        for place in candidates(playwright.chromium.executable_path):
            try:
                started = playwright.chromium.launch(
                    executable_path=place,
                    args=list(QUIET),
                    # Chromium refuses its sandbox to root, which people are in a container.
                    chromium_sandbox=not hasattr(os, "getuid") or os.getuid() != 0,
                )
            except Error as error:
                reasons.append(f"{place} does not start ({error.message.splitlines()[0]})")
                continue
            with started:
                yield started
            return
        raise NoBrowser(f"{'; '.join(reasons) or 'there is no browser'}; install one: {INSTALL}")


def main() -> None:
    """Say which browser there is, and fetch one if there is none. Never fails: a test will."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if not candidates(own):
        print("No browser for the tests; fetching Chromium, about 170 MB.", flush=True)
        patience = {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "10000"}
        subprocess.run(FETCH, env=os.environ | patience, check=False)
    found = candidates(own)
    print(f"Browser for the tests: {found[0] if found else f'none; install one: {INSTALL}'}")


if __name__ == "__main__":
    main()
