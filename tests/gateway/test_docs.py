"""What docs/gateway.md shows can be done."""

import json
import re
from pathlib import Path

from processor.gateway.config import load
from processor.gateway.trial import judge

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")


def shown(language):
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_file_that_is_shown_is_right(tmp_path):
    (tmp_path / "gateway.toml").write_text(shown("toml"), encoding="utf-8")
    (tmp_path / "twilio-token").write_text("t\n", encoding="utf-8")
    (tmp_path / "postmark-login").write_text("user:password\n", encoding="utf-8")
    config = load(tmp_path / "gateway.toml", {"OLD_TWILIO_TOKEN": "o"})
    assert f"{config.address(config.routes[0])}\n" in PAGE


def test_every_key_of_the_file_is_described(tmp_path):
    keys = {"listen", "public_url", "spool", "trusted_proxies", "provider", "account", "secrets", "verify", "topics"}
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert (
        keys
        | {"admin", "replay_rate", "max_age", "refused", "rate", "certificate", "key", "max_calls", "max_connections"}
        <= described
    )


def test_the_call_that_is_shown_is_accepted():
    line = shown("json")
    assert judge("twilio", line.encode()) == (True, "x-twilio-signature, secret 1")
    assert json.loads(line)["now"] is None
