"""Tell which version is installed, built from which commit, and how to add what is missing."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).parent
_NAME = "delivery-status"

#: Where nobody knows the commit.
UNKNOWN = "unknown"


@cache
def version() -> str:
    """Return the version of the package."""
    return metadata.version(_NAME)


def commit(told: str = UNKNOWN) -> str:
    """Return the commit that runs: what is told, else the wheel's or that of the clone, else `unknown`."""
    if told != UNKNOWN:
        return told
    built = _PACKAGE / "COMMIT"
    if built.exists():
        return built.read_text(encoding="ascii").strip()
    return _commit_of_clone(_PACKAGE.parent) or UNKNOWN


def _commit_of_clone(folder: Path) -> str | None:
    # site-packages may lie within a clone of something else.
    if not (folder / ".git").exists():
        return None
    import subprocess  # noqa: PLC0415 - most never need it.

    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own folder.
    except OSError:
        return None
    return asked.stdout.strip() or None


def mend(extra: str) -> str:
    """Return the command that installs what an extra needs.

    It names the packages and not ours, which is on no index: so it is right however ours was installed.
    """
    found = []
    for each in metadata.requires(_NAME) or ():
        requirement, _, marker = each.partition(";")
        if f"extra == '{extra}'" in marker.replace('"', "'"):
            found.append(requirement.strip())
    return f"pip install {' '.join(repr(each) for each in found)}"
