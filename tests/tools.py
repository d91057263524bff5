"""Tools that a test needs and pip cannot install."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent


def require(name: str, package: str | None = None) -> str:
    """Give the path of a tool; without it the test is skipped, or fails when REQUIRE_TOOLS=1, as in .ci/run."""
    path = shutil.which(name)
    if path is None:
        lack(f"{name}: apt-get install {package or name}")
    return path


def require_npm(folder: Path) -> str:
    """Give the path of Node.js, to run what stands beside a package.json whose packages are installed."""
    node = require("node", "nodejs")
    if not (folder / "node_modules").is_dir():
        lack(f"packages of npm: npm ci --prefix {folder.relative_to(ROOT)}")
    return node


def lack(tool: str) -> NoReturn:
    """Skip the test, or fail it when REQUIRE_TOOLS=1, for it needs a tool that is not here."""
    if os.environ.get("REQUIRE_TOOLS") == "1":
        pytest.fail(f"needs {tool} (REQUIRE_TOOLS=1)", pytrace=False)
    pytest.skip(f"needs {tool}")
