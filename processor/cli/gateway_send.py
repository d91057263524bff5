"""The command `gateway send`: a trial call, signed as its provider signs it."""

from __future__ import annotations

import os
import secrets
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import click

from processor.cli.common import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, Failure, echo, echo_json, json_option
from processor.demo.simulate import Single, single_report
from processor.gateway.config import SNS_PROVIDERS, Config, ConfigError, Route, load, read_secret
from processor.gateway.dialects import DIALECTS
from processor.gateway.private_keys import KeyFaultError
from processor.gateway.sending import Reply, UnreachableError, meaning
from processor.gateway.sending import send as send_call
from processor.gateway.signing import KEY_PAIRS, Once, call_with, sign
from processor.gateway.verifiers import Call

#: How a pair of keys is made, for providers that show nobody their private one.
_NEW_KEY = {
    "sendgrid": "openssl ecparam -name prime256v1 -genkey -noout -out trial.pem",
    "telnyx": "openssl genpkey -algorithm ed25519 -out trial.pem",
}
#: MessageBird signs what the two products send each in its way: Bird's secrets begin so.
_BIRD = "whsec_"


class _Options(NamedTuple):
    path: Path
    provider: str
    account: str | None
    status: str | None
    message_id: str | None
    to: str | None
    key: Path | None


@click.command()
@click.option("--provider", required=True, type=click.Choice(sorted(DIALECTS)), help="Whose call it is.")
@click.option("--account", help="Which of its routes, where it has several.")
@click.option("--status", help="The provider's word for the status, or ours; default: how most messages end.")
@click.option("--message-id", help="Whose status it is; default: a new id that begins with trial-.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default="gateway.toml",
    show_default=True,
    help="The gateway's file.",
)
@click.option("--to", metavar="URL", help="Where to connect instead of public_url, as http://127.0.0.1:8081.")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    help="A file with the secret to sign with, instead of the route's first: for SendGrid and Telnyx a private key.",
)
@json_option
def send(as_json: bool, **options: object) -> None:
    """Send a trial call as its provider would, signed with the route's secret, and say what the answer means.

    Exit 0 when the call was taken, 1 when it was not, 2 when it cannot be made, 3 when nobody answered.
    """
    _send(_Options(**options), as_json=as_json)  # type: ignore[arg-type] # click's own, by the names above


def _send(options: _Options, *, as_json: bool) -> None:
    config = _config(options.path)
    route = _route(config, options)
    if options.to is not None and not options.to.startswith(("http://", "https://")):
        raise Failure(f"--to {options.to!r:.80} is no address: http://HOST:PORT or https://HOST", EXIT_USAGE)
    secret = _secret(config, route, options)
    report = _report(options, secret)
    call = _signed(route, secret, call_with(route.provider, config.address(route), report.payload))
    to = (options.to or config.public_url).rstrip("/") + call.url.removeprefix(config.public_url)
    try:
        reply = send_call(call, to)
    except UnreachableError as error:
        raise Failure(str(error), EXIT_UNREACHABLE) from None
    word, sentence = meaning(route.provider, DIALECTS[route.provider], reply)
    if as_json:
        echo_json(_told(call, report, reply, word))
    else:
        _tell(call, config.address(route), report, reply, f"{word}: {sentence}")
    if word != "taken":
        raise click.exceptions.Exit(EXIT_FAILED)


def _config(path: Path) -> Config:
    try:
        return load(path, os.environ)
    except ConfigError as error:
        raise Failure(f"{path}: {'; '.join(error.faults)}", EXIT_USAGE) from None


def _route(config: Config, options: _Options) -> Route:
    routes = [route for route in config.routes if route.provider == options.provider]
    if not routes:
        raise Failure(f'{options.path} has no route of {options.provider}: [[routes]] provider = "..."', EXIT_USAGE)
    accounts = [route.account for route in routes]
    chosen = [route for route in routes if options.account in (None, route.account)]
    if len(chosen) != 1:
        named = ", ".join(account or '""' for account in accounts)
        raise Failure(f"{options.provider} has the accounts {named}: name one by --account", EXIT_USAGE)
    return chosen[0]


def _secret(config: Config, route: Route, options: _Options) -> str:
    """Read what is signed with; each error says what to do."""
    if options.key is not None:
        try:
            return read_secret(f"file:{options.key.absolute()}", config.folder, os.environ)
        except ConfigError as error:
            raise Failure(str(error), EXIT_USAGE) from None
    if route.verify == "none":
        return ""
    if route.verify == "signature" and route.provider in KEY_PAIRS:
        raise Failure(
            f"{route.provider} shows nobody its private key. Sign with one of your own: `{_NEW_KEY[route.provider]}`,"
            ' `openssl pkey -in trial.pem -pubout -out trial.pub`, add "file:trial.pub" to the route\'s secrets,'
            " then --key trial.pem; remove it afterwards",
            EXIT_USAGE,
        )
    if not route.secrets and route.provider in SNS_PROVIDERS:
        raise Failure(
            "only AWS can sign for SNS: publish a message to the topic itself; or add an access key to the route's"
            " secrets, and the trial comes as Firehose's",
            EXIT_USAGE,
        )
    return read_secret(route.secrets[0], config.folder, os.environ)


def _report(options: _Options, secret: str) -> Single:
    identity = options.message_id or f"trial-{options.provider}-{secrets.token_hex(4)}"
    is_bird = True if options.provider == "messagebird" and secret.startswith(_BIRD) else None
    try:
        return single_report(
            options.provider, options.status, identity, datetime.now(timezone.utc), second_form=is_bird
        )
    except LookupError as error:
        raise Failure(str(error.args[0]), EXIT_USAGE) from None


def _signed(route: Route, secret: str, call: Call) -> Call:
    try:
        return sign(route.provider, route.verify, secret, call, Once(int(time.time()), secrets.token_hex(16)))
    except KeyFaultError as error:
        raise Failure(f"--key: {error}: `{_NEW_KEY[route.provider]}` makes one", EXIT_USAGE) from None


def _told(call: Call, report: Single, reply: Reply, word: str) -> dict[str, object]:
    return {
        "method": call.method,
        "status": reply.status,
        "answer": word,
        "body": reply.body.decode(errors="replace"),
        "native": report.native,
        "reports": report.status.value if report.status is not None else None,
        "message_id": report.message_id,
    }


def _tell(call: Call, address: str, report: Single, reply: Reply, meant: str) -> None:
    # Not the address that was called: its query may hold the secret.
    echo(f"{call.method} {address}")
    echo(f"{reply.status} {reply.reason}".rstrip())
    if reply.body.strip():
        echo(f"    {reply.body.decode(errors='replace').strip()[:500]}")
    echo(f"    {meant}")
    if report.status is None:
        echo(f"{report.native} has no bearing on a status")
    else:
        echo(f"{report.native} means {report.status.value}: see it with `delivery-status message {report.message_id}`")
