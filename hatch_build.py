"""Have the wheel know which commit it was built from: `processor/COMMIT`, which `processor/installed.py` reads."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface[Any]):
    """Add the commit of the clone that a wheel is built in; without git there is none to add."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the commit into the folder of build artefacts, and name it as a file of the wheel."""
        # What is installed as editable moves on with its clone, which it asks itself.
        if version == "editable" or not (Path(self.root) / ".git").exists():
            return
        asked = subprocess.run(  # noqa: S603 - a fixed command.
            ["git", "-C", self.root, "rev-parse", "HEAD"],  # noqa: S607 - the git of whoever builds.
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            path = Path(self.directory) / "COMMIT"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(asked.stdout, encoding="ascii")
            build_data["force_include"][str(path)] = "processor/COMMIT"
