"""The published forms of what is on the wire, as installed: JSON Schemas, and an AsyncAPI file of all topics."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
#: The wheel has them in the package; in a clone they are beside it, where people look for them.
FOLDER = next(each for each in (_PACKAGE / "schemas", _PACKAGE.parent / "schemas") if each.is_dir())


def schema_names() -> list[str]:
    """Return what there is to read, sorted: `row` is a JSON Schema, `asyncapi` the AsyncAPI file."""
    return sorted(path.stem for path in FOLDER.iterdir() if path.is_file())


def schema_text(name: str) -> str:
    """Return one as it was published: JSON, or YAML for `asyncapi`.

    Raises:
        KeyError: there is none of that name.
    """
    for path in FOLDER.glob("*.*"):
        if path.stem == name:
            return path.read_text(encoding="utf-8")
    raise KeyError(name)
