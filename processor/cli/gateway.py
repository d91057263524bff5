"""The gateway's commands: the group, which serves, `gateway check` and `gateway verify`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import click

from processor.cli.common import EXIT_USAGE, echo, echo_json, json_option
from processor.cli.lazy import Lazy, LazyGroup
from processor.cli.lines import lines_of
from processor.gateway.config import Config, ConfigError, Route, load
from processor.gateway.consoles import doubts_of, setups_of, steps_of
from processor.gateway.dialects import DIALECTS
from processor.gateway.trial import judge
from processor.gateway.verifiers import IN_ADDRESS, SHARED, SIGNATURES

#: Every command of the group. Its summary is the first sentence of its help.
GATEWAY_COMMANDS = {
    "check": Lazy(
        "processor.cli.gateway:check",
        "Check the gateway's file; tell each route's address, and what to choose in its provider's console.",
    ),
    "send": Lazy(
        "processor.cli.gateway_send:send",
        "Send a trial call as its provider would, signed with the route's secret, and say what the answer means.",
    ),
    "verify": Lazy(
        "processor.cli.gateway:verify",
        "Verify calls of a provider (JSON Lines), and write of each whether it is accepted, and why.",
    ),
}

_config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default="gateway.toml",
    show_default=True,
    help="The gateway's file.",
)


@click.group(cls=LazyGroup, lazy=GATEWAY_COMMANDS, invoke_without_command=True)
@_config_option
@click.pass_context
def gateway(context: click.Context, path: Path) -> None:
    """Receive providers' webhooks until SIGTERM or SIGINT, and publish them as raw records.

    Each call is verified; it is answered as taken when Kafka or the disk has it.
    """
    if context.invoked_subcommand is None:
        # Imported here: the other commands need no client of Kafka.
        from processor.cli.gateway_server import serve

        serve(path, _loaded(path))


def _loaded(path: Path) -> Config:
    try:
        return load(path, os.environ)
    except ConfigError as error:
        for fault in error.faults:
            echo(f"{path}: {fault}", err=True)
        raise click.exceptions.Exit(EXIT_USAGE) from None


@click.command()
@click.option("--provider", required=True, type=click.Choice(sorted(DIALECTS)), help="Whose calls they are.")
@click.argument("file", type=click.File("rb"), default="-")
def verify(provider: str, file: BinaryIO) -> None:
    """Verify calls of a provider (JSON Lines), and write of each whether it is accepted, and why.

    Each line is {"secrets": [...], "method": "POST", "url": as signed, "headers": {...}, "body": "text" or
    "body_base64": "...", "now": RFC 3339 or null}. With now null, rules about time are off.
    """
    for number, line in lines_of(file):
        accepted, detail = judge(provider, line)
        echo_json({"line": number, "accepted": accepted, "detail": detail})


@click.command()
@_config_option
@json_option
def check(path: Path, as_json: bool) -> None:
    """Check the gateway's file; tell each route's address, and what to choose in its provider's console.

    Exit 2 when something is wrong with the file or its secrets: every fault is told.
    """
    try:
        config = load(path, os.environ) if as_json else _loaded(path)
    except ConfigError as error:
        echo_json({"faults": error.faults, "routes": []})
        raise click.exceptions.Exit(EXIT_USAGE) from None
    routes = [_told(config, route) for route in config.routes]
    if as_json:
        echo_json({"faults": [], "routes": routes})
        return
    for route in routes:
        _tell(route)


def _tell(route: dict[str, Any]) -> None:
    echo(route["address"])
    for setup in route["console"]:
        if setup["product"] and len(route["console"]) > 1:
            echo(f"    {setup['product']}:")
        for number, step in enumerate(setup["steps"], start=1):
            echo(f"    {number}. {step}")
    for name in ("methods", "secret", "verified_by", "topics", "mind", "doubts", "answer_to_refused"):
        if told := route[name]:
            echo(f"    {name.replace('_', ' ')}: {'; '.join(told) if isinstance(told, list) else told}")


def _told(config: Config, route: Route) -> dict[str, Any]:
    dialect = DIALECTS[route.provider]
    schemes = SIGNATURES[route.provider] if route.verify == "signature" else (SHARED[route.verify],)
    address = config.address(route) + ("?token=SECRET" if IN_ADDRESS in schemes else "")
    by_signature = route.verify == "signature"
    setups = setups_of(
        route.provider,
        has_topics=bool(route.topics) or not by_signature,
        has_secrets=bool(route.secrets) or not by_signature,
    )
    return {
        "address": address,
        "provider": route.provider,
        "account": route.account,
        "methods": list(dialect.methods),
        "console": [
            {"product": setup.product, "steps": steps_of(setup, route.provider, route.verify, address)}
            for setup in setups
        ],
        "secret": dialect.credential if route.verify != "none" else "",
        "verified_by": " or ".join(scheme.name for scheme in schemes),
        "topics": list(route.topics),
        "mind": dialect.mind,
        "doubts": doubts_of(setups, route.provider, route.verify, address),
        "answer_to_refused": dialect.again.status if route.refused == "again" else dialect.never.status,
    }
