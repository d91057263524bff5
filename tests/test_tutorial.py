"""docs/tutorial.md installs by what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
#: The first block makes the environment.
INSTALL, *_ = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)


def test_it_installs_by_a_target_of_the_makefile():
    make, activate = [line.partition("#")[0].strip() for line in INSTALL.splitlines()]
    assert re.search(rf"^{make.removeprefix('make ')}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert activate == ". .venv/bin/activate"
