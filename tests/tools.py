"""Tools that a test needs and pip cannot install."""

import os
import shutil

import pytest


def require(name: str, package: str | None = None) -> str:
    """Give the path of a tool; without it the test is skipped, or fails when REQUIRE_TOOLS=1, as in .ci/run."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"needs {name}: apt-get install {package or name}"
    if os.environ.get("REQUIRE_TOOLS") == "1":
        pytest.fail(f"{reason} (REQUIRE_TOOLS=1)", pytrace=False)
    pytest.skip(reason)
