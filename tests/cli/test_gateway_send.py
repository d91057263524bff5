"""`gateway send`: what arrives is what the provider would send, and every fault is told with its mend."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest
import trustme
from click.testing import CliRunner

from processor.cli import cli
from processor.gateway.dialects import CHALLENGE, DIALECTS, Answer
from processor.gateway.private_keys import new_ed25519, new_elliptic
from processor.gateway.verifiers import SIGNATURES, Call, Trust, choose, headers_of, verify

PUBLIC = "https://hooks.example.com/gw"
SNS_TOPIC = "arn:aws:sns:eu-north-1:123456789012:ses-events"


class Listener(NamedTuple):
    """Answers every call alike, and keeps each as it came."""

    address: str
    calls: list[Call]


@contextmanager
def listening(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[Listener]:
    calls: list[Call] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            # As the gateway does: the path as it came, behind what providers were told.
            calls.append(Call(self.command, PUBLIC + self.path, headers_of(self.headers.items()), body))
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST  # noqa: N815 - the name that http.server calls

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        scheme = "http" if context is None else "https"
        yield Listener(f"{scheme}://localhost:{server.server_address[1]}", calls)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def send(tmp_path):
    """Run `gateway send` with routes in the file; give exit code and output."""

    def run(provider: str, *options: str, routes: str | None = None, public_url: str = PUBLIC, to: str | None = None):
        given = routes if routes is not None else route(provider)
        (tmp_path / "gateway.toml").write_text(f'public_url = "{public_url}"\n{given}', encoding="utf-8")
        more = ("--to", to) if to is not None else ()
        command = ["gateway", "send", "--config", str(tmp_path / "gateway.toml"), "--provider", provider]
        result = CliRunner().invoke(cli, [*command, *more, *options])
        return result.exit_code, result.output

    return run


def route(provider: str, *lines: str, secrets: tuple[str, ...] = ("value:s3cret",)) -> str:
    return "\n".join(["[[routes]]", f'provider = "{provider}"', f"secrets = {json.dumps(list(secrets))}", *lines, ""])


def test_a_call_arrives_as_its_provider_signs_it(send):
    with listening(DIALECTS["twilio"].taken) as listener:
        exit_code, output = send("twilio", "--status", "delivered", "--message-id", "m-1", to=listener.address)
    [call] = listener.calls
    assert call.url == f"{PUBLIC}/hooks/twilio"
    assert verify(choose(SIGNATURES["twilio"], call), Trust(secrets=["s3cret"]), call, None)
    assert b"MessageStatus=delivered" in call.body
    assert exit_code == 0, output
    assert "taken" in output
    assert "delivered means received_on_mobile: see it with `delivery-status message m-1`" in output


@pytest.mark.parametrize("provider", sorted(SIGNATURES.keys() - {"sendgrid", "telnyx", "resend"}))
def test_every_provider_that_signs_by_a_shared_secret(send, provider):
    with listening(DIALECTS[provider].taken) as listener:
        exit_code, output = send(provider, to=listener.address)
    [call] = listener.calls
    assert verify(choose(SIGNATURES[provider], call), Trust(secrets=["s3cret"]), call, None)
    assert exit_code == 0, output
    assert "s3cret" not in output


@pytest.mark.parametrize(("provider", "make"), [("sendgrid", new_elliptic), ("telnyx", new_ed25519)])
def test_a_provider_with_a_private_key_is_tried_with_one_of_our_own(send, tmp_path, provider, make):
    private, public = make()
    (tmp_path / "trial.pem").write_text(private, encoding="utf-8")
    routes = route(provider, secrets=(f"value:{public}",))
    exit_code, output = send(provider, routes=routes)
    assert exit_code == 2
    assert "openssl" in output
    assert "--key" in output
    with listening(DIALECTS[provider].taken) as listener:
        exit_code, output = send(provider, "--key", str(tmp_path / "trial.pem"), routes=routes, to=listener.address)
    [call] = listener.calls
    assert verify(choose(SIGNATURES[provider], call), Trust(secrets=[public]), call, None)
    assert exit_code == 0, output


@pytest.mark.parametrize(
    ("provider", "answer", "word", "told"),
    [
        ("brevo", DIALECTS["brevo"].again, "again", "calls again"),
        ("mailgun", DIALECTS["mailgun"].never, "refused", "another secret"),
        ("twilio", CHALLENGE, "refused", "another secret"),
        ("jasmin", Answer(200, b"OK"), "other", "something else"),
        ("twilio", Answer(404), "other", "no such route"),
        ("twilio", Answer(301, headers=(("location", "https://x.example/"),)), "other", "redirect"),
        ("twilio", Answer(418), "other", "no answer of the gateway's"),
    ],
)
def test_an_answer_is_told_as_what_it_means_to_the_provider(send, provider, answer, word, told):
    routes = route("brevo", 'verify = "bearer"') if provider == "brevo" else None
    with listening(answer) as listener:
        exit_code, output = send(provider, routes=routes, to=listener.address)
        _, as_json = send(provider, "--json", routes=routes, to=listener.address)
    assert exit_code == 1
    assert told in output
    assert json.loads(as_json) | {"answer": word, "status": answer.status} == json.loads(as_json)


def test_the_same_for_machines(send):
    with listening(DIALECTS["ses"].taken) as listener:
        exit_code, output = send("ses", "--json", "--status", "bounce", to=listener.address)
    assert exit_code == 0
    told = json.loads(output)
    assert (told["native"], told["reports"], told["answer"]) == ("Bounce", "failed", "taken")
    assert told["message_id"].startswith("trial-ses-")


def test_what_has_no_bearing_on_a_status_is_said_to_have_none(send):
    with listening(DIALECTS["resend"].taken) as listener:
        routes = route("resend", secrets=("value:whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",))
        _, output = send("resend", "--status", "email.opened", routes=routes, to=listener.address)
    assert "no bearing" in output


class TestTls:
    @pytest.fixture
    def authority(self):
        return trustme.CA()

    @pytest.fixture
    def context(self, authority):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        return context

    def test_https_with_a_certificate_that_is_trusted(self, send, authority, context, tmp_path, monkeypatch):
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with listening(DIALECTS["twilio"].taken, context) as listener:
            exit_code, output = send("twilio", to=listener.address)
        assert exit_code == 0, output

    def test_a_certificate_that_is_not_trusted_is_told(self, send, context):
        with listening(DIALECTS["twilio"].taken, context) as listener:
            exit_code, output = send("twilio", to=listener.address)
        assert exit_code == 3
        assert "not trusted" in output
        assert "Providers refuse it" in output

    def test_plain_http_where_tls_is_expected_is_told(self, send):
        with listening(DIALECTS["twilio"].taken) as listener:
            exit_code, output = send("twilio", to=listener.address.replace("http:", "https:"))
        assert exit_code == 3
        assert "does not speak TLS" in output


@pytest.mark.parametrize(
    ("provider", "routes", "options", "told"),
    [
        ("twilio", "", (), "no [[routes]]"),
        ("twilio", route("kannel"), (), "no route of twilio"),
        ("twilio", route("twilio", 'account = "a"') + route("twilio", 'account = "b"'), (), "accounts a, b"),
        ("twilio", route("twilio", 'account = "a"'), ("--account", "c"), "accounts a"),
        ("twilio", None, ("--status", "arrived"), "It has: queued, sent, delivered"),
        ("twilio", None, ("--to", "127.0.0.1:8081"), "http://HOST:PORT"),
        ("twilio", None, ("--key", "absent"), "cannot be read"),
        ("ses", f'[[routes]]\nprovider = "ses"\ntopics = ["{SNS_TOPIC}"]\n', (), "only AWS can sign"),
        ("telnyx", route("telnyx", secrets=(f"value:{new_ed25519()[1]}",)), ("--key", __file__), "openssl"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_with_its_mend(send, provider, routes, options, told):
    exit_code, output = send(provider, *options, routes=routes)
    assert exit_code == 2
    assert told in output


@pytest.mark.parametrize("public_url", ["http://127.0.0.1:1", "https://127.0.0.1:1/gw"])
def test_nobody_who_listens_is_told(send, public_url):
    exit_code, output = send("twilio", public_url=public_url)
    assert exit_code == 3
    assert "nothing listens at 127.0.0.1:1" in output
    assert "--to" in output


def test_a_host_that_does_not_exist_is_told(send):
    exit_code, output = send("twilio", public_url="https://hooks.invalid")
    assert exit_code == 3
    assert "hooks.invalid cannot be reached" in output
