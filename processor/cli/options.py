"""Options that several commands have: times, and members of enumerations by their values."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import click
import msgspec


def parse_moment(_context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """Parse a time in the format of records."""
    if value is None:
        return None
    try:
        moment = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter("must be like 2026-11-24T06:00:00+01:00", param=parameter)
    return moment


def names_of(members: type[Enum]) -> click.Choice[str]:
    """Return the choice of an enumeration's values."""
    return click.Choice([member.value for member in members])
