"""The published schemas, compiled for both dialects of JSON Schema that they are written for."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, settings

SCHEMAS = Path(__file__).parents[2] / "schemas"

settings.register_profile(
    "contract", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


class Contract(NamedTuple):
    """One schema, and its validator under each dialect."""

    schema: dict[str, Any]
    draft_07: jsonschema_rs.Draft7Validator
    draft_2020_12: jsonschema_rs.Draft202012Validator

    def accepts(self, instance: object) -> bool:
        """Say whether the instance is valid, which both dialects must agree about."""
        answers = {self.draft_07.is_valid(instance), self.draft_2020_12.is_valid(instance)}
        assert len(answers) == 1, f"the dialects disagree about {instance!r}"
        return answers.pop()

    def errors(self, instance: object) -> list[str]:
        """Say what is wrong with the instance."""
        return [f"{list(error.instance_path)}: {error.message}" for error in self.draft_07.iter_errors(instance)]


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    """Every schema by the name of its file."""
    found = {}
    for path in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        undeclared = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
        found[path.stem] = Contract(
            schema,
            jsonschema_rs.Draft7Validator(undeclared, validate_formats=True),
            jsonschema_rs.Draft202012Validator(undeclared, validate_formats=True),
        )
    return found


@pytest.fixture(scope="session")
def schemas_folder() -> Path:
    """Where the published schemas are."""
    return SCHEMAS
