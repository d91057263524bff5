"""The gateway's file: what it may say, and every fault at once."""

import json
from ipaddress import ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner

from processor.cli import cli
from processor.gateway.config import ConfigError, Route, load, read_secret
from tests.gateway.conftest import EDWARDS, ELLIPTIC, b64, public_der

TOPIC = "arn:aws:sns:eu-north-1:123456789012:ses-events"
PUBLIC = 'public_url = "https://hooks.example.com"\n'
ROUTE = '[[routes]]\nprovider = "twilio"\nsecrets = ["value:t"]\n'


@pytest.fixture
def parse(tmp_path):
    def from_text(text, **environment):
        path = tmp_path / "gateway.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, environment)

    return from_text


@pytest.fixture
def faults(parse):
    def of_text(text, **environment):
        with pytest.raises(ConfigError) as caught:
            parse(text, **environment)
        return list(caught.value.faults)

    return of_text


class TestWhatItMaySay:
    def test_the_whole_of_it(self, parse, tmp_path):
        (tmp_path / "twilio-token").write_text("from a file\n", encoding="utf-8")
        config = parse(
            f"""
            listen = "[::1]:0"
            public_url = "https://hooks.example.com/gw/"
            spool = "gateway-spool.sqlite"
            trusted_proxies = ["10.0.0.1", "192.168.0.0/16", "::1"]
            [[routes]]
            provider = "twilio"
            account = "main"
            secrets = ["file:twilio-token", "env:OLD_TOKEN", "value:only-for-trials"]
            verify = "signature"
            max_age = 600
            refused = "again"
            [[routes]]
            provider = "ses"
            topics = ["{TOPIC}"]
            [[routes]]
            provider = "postmark"
            secrets = ["value:user:pass:word"]
            verify = "basic"
            [[routes]]
            provider = "kannel"
            verify = "none"
            """,
            OLD_TOKEN="x",
        )
        assert (config.host, config.port) == ("::1", 0)
        assert config.spool == tmp_path / "gateway-spool.sqlite"
        assert config.trusted_proxies == tuple(map(ip_network, ("10.0.0.1", "192.168.0.0/16", "::1")))
        secrets = ("file:twilio-token", "env:OLD_TOKEN", "value:only-for-trials")
        assert config.routes == (
            Route("twilio", "main", secrets, max_age=600, refused="again"),
            Route("ses", topics=(TOPIC,)),
            Route("postmark", secrets=("value:user:pass:word",), verify="basic"),
            Route("kannel", verify="none"),
        )
        assert [config.address(route) for route in config.routes[:2]] == [
            "https://hooks.example.com/gw/hooks/twilio/main",
            "https://hooks.example.com/gw/hooks/ses",
        ]

    def test_what_it_may_leave_out(self, parse, tmp_path):
        config = parse(PUBLIC + ROUTE)
        assert (config.host, config.port, config.trusted_proxies) == ("127.0.0.1", 8081, ())
        assert config.spool == tmp_path / "gateway-spool.sqlite"
        assert config.routes == (
            Route("twilio", secrets=("value:t",), verify="signature", max_age=300, refused="never"),
        )

    def test_an_account_each_or_none(self, parse):
        accounts = "".join(f'{ROUTE}account = "{name}"\n' for name in ("main", "sub-1", "SE.2_x"))
        assert len(parse(PUBLIC + ROUTE + accounts).routes) == 4

    @pytest.mark.parametrize(
        ("provider", "key"),
        [("sendgrid", public_der(ELLIPTIC)), ("telnyx", b64(EDWARDS.public_key().public_bytes_raw()))],
        ids=["sendgrid", "telnyx"],
    )
    def test_a_public_key(self, parse, provider, key):
        assert parse(f'{PUBLIC}[[routes]]\nprovider = "{provider}"\nsecrets = ["value:{key}"]\n')


def route(text):
    return f"{PUBLIC}[[routes]]\n{text}\n"


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            (ROUTE, "public_url"),
            ('public_url = "hooks.example.com"\n' + ROUTE, "public_url"),
            ('public_url = "https://h.example/?x=1"\n' + ROUTE, "public_url"),
            ('public_url = "https://user:pass@h.example"\n' + ROUTE, "public_url"),
            ('public_url = "https://h.example:x"\n' + ROUTE, "public_url"),
            ('public_url = "ftp://h.example"\n' + ROUTE, "public_url"),
            ("public_url = 1\n" + ROUTE, "public_url"),
            (f'listen = "8081"\n{PUBLIC}{ROUTE}', "listen"),
            (f'listen = "h:70000"\n{PUBLIC}{ROUTE}', "listen"),
            (f"listen = 8081\n{PUBLIC}{ROUTE}", "listen"),
            (f'trusted_proxies = ["proxy"]\n{PUBLIC}{ROUTE}', "trusted_proxies"),
            (f'trusted_proxies = "10.0.0.1"\n{PUBLIC}{ROUTE}', "trusted_proxies"),
            (f'public = "x"\n{PUBLIC}{ROUTE}', "'public' is not known: perhaps public_url"),
            (PUBLIC, "no [[routes]]"),
            (f"routes = 1\n{PUBLIC}", "routes"),
            (PUBLIC + ROUTE + ROUTE, "more than one route /hooks/twilio"),
            (route('provider = "pigeon"\nsecrets = ["value:t"]'), "provider is none of"),
            (route('secrets = ["value:t"]'), "provider is none of"),
            (route('provider = "postfix"\nsecrets = ["value:t"]'), "ingest"),
            (route('provider = "smpp"\nsecrets = ["value:t"]'), "session"),
            (route('provider = "twilio"\naccount = "a/b"\nsecrets = ["value:t"]'), "account"),
            (route('provider = "twilio"\nsecrets = "value:t"'), "secrets is no list"),
            (route('provider = "twilio"\nsecrets = []'), "no secrets"),
            (route('provider = "twilio"'), "no secrets"),
            (route('provider = "twilio"\nsecret = ["value:t"]\nsecrets = ["value:t"]'), "perhaps secrets"),
            (route('provider = "twilio"\nsecrets = ["t"]'), "none of file:PATH, env:NAME and value:TEXT"),
            (route('provider = "twilio"\nsecrets = ["file:absent"]'), "file:absent cannot be read"),
            (route('provider = "twilio"\nsecrets = ["env:ABSENT"]'), "env:ABSENT is empty"),
            (route('provider = "twilio"\nsecrets = ["value:"]'), "empty"),
            (route('provider = "twilio"\nsecrets = ["value:t"]\nverify = "trust"'), "verify is 'trust'"),
            (route('provider = "twilio"\nsecrets = ["value:t"]\nverify = "none"'), "verify is none, but"),
            (route('provider = "twilio"\nsecrets = ["value:t"]\nrefused = "later"'), "refused"),
            (route('provider = "twilio"\nsecrets = ["value:t"]\nmax_age = 0'), "max_age"),
            (route('provider = "twilio"\nsecrets = ["value:t"]\nmax_age = "x"'), "max_age"),
            (route('provider = "postmark"\nsecrets = ["value:t"]'), "signs nothing"),
            (route('provider = "postmark"\nsecrets = ["value:t"]\nverify = "basic"'), "user:password"),
            (route('provider = "postmark"\nsecrets = ["value:t:"]\nverify = "basic"'), "user:password"),
            (route('provider = "resend"\nsecrets = ["value:whsec_"]'), "a key in base64"),
            (route('provider = "postmark"\nsecrets = ["value:t"]\nverify = "header"'), "Name: value"),
            (route('provider = "sendgrid"\nsecrets = ["value:t"]'), "not a public key"),
            (route('provider = "telnyx"\nsecrets = ["value:t"]'), "not a public key"),
            (route(f'provider = "twilio"\nsecrets = ["value:t"]\ntopics = ["{TOPIC}"]'), "topics are of SNS"),
            (route(f'provider = "ses"\nverify = "basic"\ntopics = ["{TOPIC}"]'), "no secrets"),
            (route('provider = "twilio"\nsecrets = ["value:t"]\nrate = -1'), "rate is no number"),
            (f'admin = "here"\n{PUBLIC}{ROUTE}', "admin is 'here'"),
            (f"replay_rate = 0\n{PUBLIC}{ROUTE}", "replay_rate is no number"),
            (f"max_calls = 0.5\n{PUBLIC}{ROUTE}", "max_calls is no number"),
            (f'certificate = "no.pem"\n{PUBLIC}{ROUTE}', "certificate and key belong together"),
            (f'certificate = "no.pem"\nkey = "no.pem"\n{PUBLIC}{ROUTE}', "they cannot be used: No such file"),
            (route('provider = "ses"\ntopics = ["ses-events"]'), "no ARN"),
            (route('provider = "ses"'), "no secrets"),
            ("listen = ", "not TOML"),
            (f"{PUBLIC}{PUBLIC}{ROUTE}", "not TOML"),
        ],
    )  # fmt: skip
    def test_each_is_named(self, faults, text, fault):
        found = faults(text)
        assert len(found) == 1, found
        assert fault in found[0]

    def test_all_are_named_at_once_with_their_places(self, faults):
        found = faults(
            'listen = "x"\nlisen = "y"\n'
            '[[routes]]\nprovider = "twilio"\nsecrets = ["file:absent", "env:ABSENT"]\n'
            '[[routes]]\nprovider = "brevo"\nverify = "bearer"\naccount = "?"\n'
        )
        assert [fault.partition(" is ")[0].partition(" cannot")[0] for fault in found] == [
            "listen",
            "public_url",
            "routes[2] (brevo): account",
            "routes[2] (brevo): no secrets: whoever may call unverified",
            "'lisen'",
            "routes[1] (twilio): secrets[1]: file:absent",
            "routes[1] (twilio): secrets[2]: env:ABSENT",
        ]

    def test_a_secret_is_quoted_in_none(self, faults):
        told = faults(route('provider = "postmark"\nsecrets = ["value:s3cret", "s3cret"]\nverify = "basic"'))
        assert len(told) == 2
        assert "s3cret" not in " ".join(told)

    def test_a_file_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(tmp_path / "absent.toml", {})


class TestSecrets:
    def test_a_file_is_read_anew_each_time(self, tmp_path):
        (tmp_path / "token").write_text("one\n", encoding="utf-8")
        assert read_secret("file:token", tmp_path, {}) == "one"
        (tmp_path / "token").write_text("two", encoding="utf-8")
        assert read_secret("file:token", tmp_path, {}) == "two"
        assert read_secret(f"file:{tmp_path / 'token'}", Path("/"), {}) == "two"

    def test_a_file_that_is_no_text_is_told(self, tmp_path):
        (tmp_path / "token").write_bytes(b"\xff")
        with pytest.raises(ConfigError, match="no text"):
            read_secret("file:token", tmp_path, {})


class TestCheck:
    def run(self, tmp_path, text, *options):
        path = tmp_path / "gateway.toml"
        path.write_text(text, encoding="utf-8")
        return CliRunner().invoke(cli, ["gateway", "check", "--config", str(path), *options])

    def test_it_tells_each_address_and_what_to_choose_there(self, tmp_path):
        result = self.run(
            tmp_path, PUBLIC + ROUTE + '[[routes]]\nprovider = "brevo"\nsecrets = ["value:t"]\nverify = "bearer"\n'
        )
        assert result.exit_code == 0
        told = result.stdout
        assert "https://hooks.example.com/hooks/twilio\n" in told
        assert "https://hooks.example.com/hooks/brevo\n" in told
        assert "#rc=5&rp=all" in told
        assert "verified by: X-Twilio-Signature\n" in told
        assert "verified by: bearer token\n" in told

    def test_an_address_that_holds_its_secret_says_where(self, tmp_path):
        told = self.run(tmp_path, route('provider = "kannel"\nsecrets = ["value:t"]')).stdout
        assert told.startswith("https://hooks.example.com/hooks/kannel?token=SECRET\n")

    def test_the_same_for_machines(self, tmp_path):
        found = json.loads(self.run(tmp_path, PUBLIC + ROUTE, "--json").stdout)
        assert found["faults"] == []
        assert found["routes"][0]["address"] == "https://hooks.example.com/hooks/twilio"

    def test_it_tells_who_may_call_unverified(self, tmp_path):
        assert "whoever knows the address" in self.run(tmp_path, route('provider = "kannel"\nverify = "none"')).stdout

    def test_it_quotes_no_secret(self, tmp_path):
        for text in (ROUTE.replace("value:t", "value:s3cret"), ROUTE.replace("value:t", "s3cret")):
            result = self.run(tmp_path, PUBLIC + text)
            assert "s3cret" not in result.output

    def test_faults_end_it_as_wrong_settings_do(self, tmp_path):
        result = self.run(tmp_path, PUBLIC + '[[routes]]\nprovider = "twilio"\n[[routes]]\nprovider = "x"\n')
        assert (result.exit_code, result.stdout) == (2, "")
        assert len(result.stderr.splitlines()) == 2
        assert json.loads(self.run(tmp_path, PUBLIC, "--json").stdout)["faults"]
