"""`gateway send` against the real server: every provider's trial is taken, and is the report that it says."""

import asyncio
import json
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from processor.gateway.dialects import DIALECTS
from processor.gateway.private_keys import new_ed25519, new_elliptic
from processor.providers import Context, decode_payload, read
from tests.gateway.fakes import key_of, route_of
from tests.gateway.world import a_world

pytestmark = pytest.mark.slow

ALL = sorted(DIALECTS)

#: Sends a trial for each line of standard input, options of the command as JSON, and writes what each says.
PROGRAM = """
import json, sys
from click.testing import CliRunner
from processor.cli import cli
for line in sys.stdin:
    result = CliRunner().invoke(cli, ["gateway", "send", "--json", *json.loads(line)])
    print(json.dumps([result.exit_code, result.stdout, result.stderr]), flush=True)
"""


async def sent(commands):
    """Give what `gateway send` says, by provider: its exit code, and its answer."""
    lines = "".join(json.dumps(options) + "\n" for options in commands.values())
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", PROGRAM], input=lines, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(found) == len(commands)
    return {
        provider: (code, json.loads(told) if told else error)
        for provider, (code, told, error) in zip(commands, found, strict=True)
    }


def trial(folder, port, provider, secret):
    """Give the options of a provider's trial, signed with a secret."""
    key = folder / f"{provider}.key"
    key.write_text(secret, encoding="utf-8")
    options = {
        "--provider": provider,
        "--config": folder / "gateway.toml",
        "--to": f"http://127.0.0.1:{port}",
        "--message-id": f"trial-{provider}",
        "--key": key,
    }
    return [str(word) for pair in options.items() for word in pair]


async def test_every_providers_trial_is_taken_and_is_what_it_says(tmp_path):
    async with a_world(tmp_path, "".join(map(route_of, ALL))) as at:
        told = await sent({provider: trial(tmp_path, at.port, provider, key_of(provider)) for provider in ALL})
        assert {provider: answer for provider, (code, answer) in told.items() if code != 0} == {}
        records = {dict(record.headers)["provider"].decode(): record for record in await at.spooled()}
    context = Context(datetime.now(timezone.utc))
    for provider, (_, answer) in told.items():
        assert answer["answer"] == "taken"
        [event] = read(provider, decode_payload(records[provider].value), context)
        assert (event.message_id, event.status.value) == (answer["message_id"], answer["reports"])


async def test_a_trial_with_another_secret_is_refused_in_every_providers_words(tmp_path):
    others = {"sendgrid": new_elliptic()[0], "telnyx": new_ed25519()[0]}
    async with a_world(tmp_path, "".join(map(route_of, ALL))) as at:
        told = await sent(
            {name: trial(tmp_path, at.port, name, others.get(name, "user:whsec_b3RoZXI=")) for name in ALL}
        )
        assert {(code, answer["answer"]) for code, answer in told.values()} == {(1, "refused")}
        assert await at.spooled() == []
