"""Every answer as its provider wants it, and all that is refused or bounded: through the real server, without Kafka."""

import asyncio
import base64
import gzip
import json
import ssl
import time
from contextlib import suppress

import aiohttp
import pytest
import trustme
from structlog.testing import capture_logs
from yarl import URL

from processor.gateway import running
from processor.gateway.dialects import DIALECTS
from processor.gateway.records import records_of
from processor.gateway.verifiers import SIGNATURES, Call, headers_of
from tests.gateway.conftest import SIGNED
from tests.gateway.fakes import route_of, secret_of, signed_call, way_of
from tests.gateway.serving import PUBLIC_URL
from tests.gateway.world import a_world, until

#: What each documentation wants for an answer: taken, again, and what ends it. Written down apart from the dialects.
WANTED = {
    "aws_eum_sms": (200, 503, 403), "aws_sns_sms": (200, 503, 403), "bandwidth": (200, 503, 403),
    "brevo": (200, 429, 403), "firetext": (200, 503, 403), "infobip": (200, 503, 403), "jasmin": (200, 503, 403),
    "kannel": (200, 503, 403), "kumomta": (200, 503, 403), "mailgun": (200, 503, 406), "mailjet": (200, 503, 403),
    "messagebird": (200, 503, 403), "mmg": (200, 503, 403), "plivo": (200, 503, 403), "postmark": (200, 503, 403),
    "powermta": (200, 503, 403), "resend": (200, 503, 403), "sendgrid": (200, 503, 403), "ses": (200, 503, 403),
    "sinch": (200, 503, 403), "sparkpost": (200, 503, 403), "telnyx": (200, 503, 403), "twilio": (204, 503, 403),
    "vonage": (200, 503, 403),
}  # fmt: skip
TAKEN, AGAIN, NEVER = 0, 1, 2
#: The bodies that are looked at.
BODIES = {"jasmin": b"ACK/Jasmin", "mmg": b'{"result":"success"}', "firetext": b'{"result":"success"}'}
FIREHOSE = ("aws_eum_sms", "aws_sns_sms", "ses")
#: The other secret of each, where a call is to be refused.
ALL = sorted(DIALECTS)


@pytest.fixture(params=ALL)
def provider(request):
    return request.param


@pytest.fixture
def world(tmp_path):
    def make(*providers, more="", **keys):
        return a_world(tmp_path, "".join(route_of(name) for name in providers) + more, **keys)

    return make


def forged(provider):
    """Give a call of which not even the secret is right."""
    call = signed_call(provider, "call=1")
    if provider in {"firetext", "jasmin", "kannel"}:
        return call._replace(url=call.url.replace("s3cret", "guessed"))
    wrong = {
        name: tuple(value[:-6] + "AAAA" + value[-2:] if len(value) > 8 else "AAAA" for value in values)
        for name, values in call.headers.items()
        if any(word in name for word in ("signature", "authorization", "access-key"))
    }
    body = call.body
    if provider == "mailgun":
        read = json.loads(body)
        read["signature"]["signature"] = "0" * 64
        body = json.dumps(read).encode()
    if provider == "vonage" and b"sig=" in body:
        body = body[:-8] + b"00000000"
    return call._replace(headers={**call.headers, **wrong}, body=body)


class TestAnswers:
    async def test_what_is_taken(self, world, provider):
        async with world(provider) as at:
            call = signed_call(provider, "call=1")
            status, body, headers = await at.caller.call(call)
            assert status == WANTED[provider][TAKEN]
            if provider in FIREHOSE:
                told = json.loads(body)
                assert told["requestId"] == call.headers["x-amz-firehose-request-id"][0]
                assert abs(told["timestamp"] / 1000 - time.time()) < 60
                assert headers["Content-Type"] == "application/json"
                assert headers["Content-Length"] == str(len(body))
            else:
                assert body == BODIES.get(provider, b"")
            expected = records_of(DIALECTS[provider], call, [secret_of(provider)], 1_000_000)
            records = await at.spooled()
            assert [record.value for record in records] == [record.value for record in expected]
            assert all(dict(record.headers)["provider"] == provider.encode() for record in records)
            assert b"s3cret" not in b"".join(record.value for record in records)
            assert at.count(provider, "spooled") == 1

    async def test_what_is_refused(self, world, provider):
        async with world(provider) as at:
            status, body, headers = await at.caller.call(forged(provider))
            assert status == WANTED[provider][NEVER]
            if provider in FIREHOSE:
                assert json.loads(body)["errorMessage"] == "not verified"
            if provider == "resend":
                assert headers["webhook-delivery"] == "abort-message"
            assert await at.spooled() == []
            assert at.count(provider, "refused") == 1

    async def test_what_is_refused_while_secrets_are_changed_is_to_come_again(self, tmp_path, provider):
        async with a_world(tmp_path, route_of(provider, refused="again")) as at:
            status, _, headers = await at.caller.call(forged(provider))
            assert status == WANTED[provider][AGAIN]
            assert int(headers["Retry-After"]) > 0

    async def test_what_nobody_can_keep_is_to_come_again(self, world, provider):
        async with world(provider) as at:
            connection = at.gateway._spool._connected()
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")
            status = 0
            for number in range(100):
                status, body, _ = await at.caller.call(signed_call(provider, f"call={number}&x={'x' * 5000}"))
                if status != WANTED[provider][TAKEN]:
                    break
            assert status == WANTED[provider][AGAIN]
            assert at.count(provider, "again") == 1
            if provider in FIREHOSE:
                assert json.loads(body)["errorMessage"] == "not taken, try again"
            ready, told = await at.get("/readyz")
            assert (ready, "full" in told) == (503, True)

    async def test_who_asks_whether_there_is_anybody(self, world, provider):
        async with world(provider) as at:
            for method in {"HEAD", "GET", "OPTIONS"} - set(DIALECTS[provider].methods):
                assert (await at.caller.call(Call(method, f"{PUBLIC_URL}/hooks/{provider}", {}, b"")))[0] == 200
            status, _, headers = await at.caller.call(Call("DELETE", f"{PUBLIC_URL}/hooks/{provider}", {}, b""))
            assert (status, headers["Allow"]) == (405, ", ".join(DIALECTS[provider].methods))


class TestRoutes:
    @pytest.mark.parametrize(
        "path", ["/", "/hooks", "/hooks/", "/hooks/postmark", "/hooks/twilio/", "/hooks/twilio/other", "/hooks/Twilio",
                 "/hooks/%74wilio", "//hooks/twilio", "/metrics", "/livez", "/report", "/../hooks/twilio"],
    )  # fmt: skip
    async def test_there_are_no_others(self, world, path):
        async with world("twilio") as at:
            url = URL(at.caller.address + path, encoded=True)
            async with at.caller._session.post(url) as response:
                assert response.status == 404

    async def test_one_by_basic_asks_for_the_password_first(self, tmp_path):
        async with a_world(tmp_path, route_of("ses").replace('"signature"', '"basic"')) as at:
            status, _, headers = await at.caller.call(Call("POST", f"{PUBLIC_URL}/hooks/ses", {}, b"{}"))
            assert (status, headers["WWW-Authenticate"][:5]) == (401, "Basic")
            assert (at.count("ses", "asked"), at.count("ses", "refused")) == (1, 0)

    async def test_one_without_verification_takes_what_comes(self, tmp_path):
        async with a_world(tmp_path, '[[routes]]\nprovider = "kumomta"\nverify = "none"\n') as at:
            assert (await at.caller.call(Call("POST", f"{PUBLIC_URL}/hooks/kumomta", {}, b"{}")))[0] == 200

    async def test_accounts_have_secrets_of_their_own(self, tmp_path):
        routes = "".join(
            f'[[routes]]\nprovider = "twilio"\naccount = "{name}"\nsecrets = ["value:{name}-secret"]\n' for name in "ab"
        )
        async with a_world(tmp_path, routes) as at:
            for account, secret, wanted in (("a", "a", 204), ("b", "b", 204), ("a", "b", 403), ("b", "a", 403)):
                call = SIGNED["twilio"].make(f"{secret}-secret", 0, url=f"{PUBLIC_URL}/hooks/twilio/{account}")
                assert (await at.caller.call(call))[0] == wanted
            assert [dict(record.headers)["account"] for record in await at.spooled()] == [b"a", b"b"]

    async def test_vonages_unsigned_callbacks_are_to_come_again_signed(self, world):
        async with world("vonage") as at:
            call = Call("POST", f"{PUBLIC_URL}/hooks/vonage", {}, b"status=delivered&messageId=1")
            assert (await at.caller.call(call))[0] == 503


class TestAddresses:
    async def test_what_is_signed_is_the_public_address_whatever_a_request_says_of_itself(self, world):
        async with world("twilio") as at:
            call = signed_call("twilio", "message_id=m%2D1&x=%C3%A5+b")
            spoofed = call._replace(headers={**call.headers, "host": ("evil.example",), "x-forwarded-proto": ("http",),
                                             "x-forwarded-host": ("evil.example",)})  # fmt: skip
            assert (await at.caller.call(spoofed))[0] == 204
            foreign = signed_call("twilio", "a=1", address="https://evil.example/hooks/twilio")
            moved = foreign._replace(url=foreign.url.replace("https://evil.example", PUBLIC_URL))
            headers = {**moved.headers, "host": ("evil.example",), "x-forwarded-host": ("evil.example",)}
            assert (await at.caller.call(moved._replace(headers=headers)))[0] == 403

    @pytest.mark.parametrize("asked", ["/gw/hooks/twilio", "/hooks/twilio"], ids=["kept", "stripped"])
    async def test_a_public_address_with_a_path_which_a_proxy_may_strip(self, world, asked):
        async with world("twilio", public_url="https://api.example.com/gw") as at:
            call = signed_call("twilio", "a=1", address="https://api.example.com/gw/hooks/twilio")
            told = call._replace(url=PUBLIC_URL + asked + "?a=1")
            assert (await at.caller.call(told))[0] == 204

    async def test_only_a_trusted_proxy_tells_who_calls(self, tmp_path):
        clients = []
        call = forged("postmark")
        call = call._replace(headers={**call.headers, "x-forwarded-for": ("192.0.2.7",)})
        for proxies in ([], ["127.0.0.0/8"]):
            async with a_world(tmp_path, route_of("postmark"), trusted_proxies=proxies) as at:
                with capture_logs() as lines:
                    await at.caller.call(call)
            clients.append([line["client"] for line in lines if line["event"] == "webhook_refused"])
        assert clients == [["127.0.0.1"], ["192.0.2.7"]]


class TestTimes:
    @pytest.mark.parametrize("name", [name for name, signed in SIGNED.items() if signed.timed])
    async def test_a_call_is_good_for_minutes_only(self, tmp_path, name):
        signed = SIGNED[name]
        route = f"[[routes]]\nprovider = '{signed.provider}'\nsecrets = ['value:{signed.known(signed.secret)}']\n"
        url = f"{PUBLIC_URL}/hooks/{signed.provider}"
        async with a_world(tmp_path, route) as at:
            now = int(time.time())
            assert (await at.caller.call(signed.make(signed.secret, now, url=url)))[0] == 200
            for off in (-400, 400):
                answer = await at.caller.call(signed.make(signed.secret, now + off, url=url))
                assert answer[0] == WANTED[signed.provider][NEVER]

    async def test_a_token_of_mailgun_is_good_for_one_event_which_may_come_again(self, world):
        async with world("mailgun") as at:
            call = signed_call("mailgun", "a=1")
            other = json.loads(call.body)
            other["event-data"]["event"] = "failed"
            assert (await at.caller.call(call))[0] == 200
            assert (await at.caller.call(call))[0] == 200, "Mailgun repeats it when an answer is lost"
            assert (await at.caller.call(call._replace(body=json.dumps(other).encode())))[0] == 406


class TestSecrets:
    async def test_are_changed_without_a_restart(self, tmp_path, monkeypatch):
        monkeypatch.setattr(running, "_RENEW_SECONDS", 0.05)
        file = tmp_path / "token"
        file.write_text("old-secret\n", encoding="utf-8")
        route = '[[routes]]\nprovider = "twilio"\nsecrets = ["file:token", "env:MORE"]\n'
        environment = {"MORE": "older-secret"}
        async with a_world(tmp_path, route, environment=environment) as at:

            async def status(secret):
                call = SIGNED["twilio"].make(secret, 0, url=f"{PUBLIC_URL}/hooks/twilio")
                return (await at.caller.call(call))[0]

            assert [await status(secret) for secret in ("old-secret", "older-secret", "new-secret")] == [204, 204, 403]
            file.write_text("", encoding="utf-8")
            await asyncio.sleep(0.3)
            assert await status("old-secret") == 204, "a file that is being written takes no secret away"
            file.write_text("new-secret\n", encoding="utf-8")
            deadline = time.monotonic() + 180
            while await status("new-secret") != 204:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert await status("old-secret") == 403


class TestBodies:
    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    async def test_that_are_compressed(self, tmp_path, encoding):
        import zlib

        async with a_world(tmp_path, route_of("postmark")) as at:
            call = signed_call("postmark", "a=1")
            packed = gzip.compress(call.body) if encoding == "gzip" else zlib.compress(call.body)
            headers = {**call.headers, "content-encoding": (encoding,)}
            assert (await at.caller.call(call._replace(body=packed, headers=headers)))[0] == 200
            [record] = await at.spooled()
            assert record.value == call.body

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [(gzip.compress(bytes(65 * 2**20)), "gzip"), (b"no gzip", "gzip"), (b"{}", "br"), (b"<xml/>", "")],
        ids=["bomb", "no-gzip", "brotli", "xml"],
    )
    async def test_of_which_no_record_can_be_made_end_it(self, world, body, encoding):
        async with world("postmark") as at:
            call = signed_call("postmark", "a=1")
            headers = {**call.headers, "content-encoding": (encoding,)} if encoding else call.headers
            assert (await at.caller.call(call._replace(body=body, headers=headers)))[0] == 403
            assert at.count("postmark", "malformed") == 1

    async def test_that_are_too_large(self, world):
        async with world("twilio", "ses") as at:
            for provider in ("twilio", "ses"):
                large = Call("POST", f"{PUBLIC_URL}/hooks/{provider}", {}, bytes(6 * 2**20))
                assert (await at.caller.call(large))[0] == 413
            async with at.caller._session.post(f"{at.caller.address}/hooks/twilio", data=_pieces(7)) as response:
                assert response.status == 413, "of unknown size"
            assert at.count("twilio", "malformed") == 2

    async def test_of_firehose_may_be_larger_and_of_strangers_not(self, world):
        async with world("ses") as at:
            data = base64.b64encode(json.dumps({"eventType": "Send", "pad": "x" * 700_000}).encode()).decode()
            body = json.dumps({"requestId": "r", "timestamp": 1, "records": [{"data": data}] * 8}).encode()
            assert len(body) > 5 * 2**20
            headers = headers_of([("X-Amz-Firehose-Access-Key", secret_of("ses")), ("X-Amz-Firehose-Request-Id", "r")])
            call = Call("POST", f"{PUBLIC_URL}/hooks/ses", headers, body)
            assert (await at.caller.call(call))[0] == 200
            assert len(await at.spooled()) == 8
            stranger = call._replace(headers={**headers, "x-amz-firehose-access-key": ("guess",)})
            assert (await at.caller.call(stranger))[0] == 403

    async def test_are_split_below_the_limit_of_a_record(self, world):
        async with world("sendgrid") as at:
            event = {"event": "delivered", "email": "a@example.com", "sg_event_id": "1", "pad": "x" * 1000}
            assert (await at.caller.call(signed_call("sendgrid", "a=1", payload=json.dumps([event] * 2500))))[0] == 200
            records = await at.spooled()
            assert len(records) == 3
            assert max(len(record.value) for record in records) <= 1_000_000
            assert [each for record in records for each in json.loads(record.value)] == [event] * 2500
            assert {dict(record.headers)["query"] for record in records} == {b"a=1"}

    async def test_a_client_that_asks_first_is_told_to_go_on(self, world):
        async with world("twilio") as at:
            call = signed_call("twilio", "a=1")
            async with at.caller._session.post(
                URL(at.caller.address + call.url.removeprefix(PUBLIC_URL), encoded=True),
                data=call.body, expect100=True,
                headers=[(name, value) for name, values in call.headers.items() for value in values],
            ) as response:  # fmt: skip
                assert response.status == 204


async def _pieces(mebibytes):
    for _ in range(mebibytes):
        yield bytes(2**20)


class TestBounds:
    async def test_a_slow_client_costs_nobody_else(self, world):
        """Many connections send half a call each: others are answered all the while, also with one call at a time."""
        async with world("twilio", max_calls=1, max_connections=50) as at:
            half = b"POST /hooks/twilio HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
            opened = [await asyncio.open_connection("127.0.0.1", at.port) for _ in range(40)]
            for number, (_, writer) in enumerate(opened):
                writer.write(half if number % 2 else half[:30])
            for number in range(20):
                assert (await at.caller.call(signed_call("twilio", f"a={number}")))[0] == 204
            # Where there is no more room, the one that has waited longest makes some.
            more = [await asyncio.open_connection("127.0.0.1", at.port) for _ in range(40)]
            assert (await at.caller.call(signed_call("twilio", "a=last")))[0] == 204
            for _, writer in opened + more:
                writer.close()

    async def test_more_calls_at_a_time_than_there_may_be_are_to_come_again(self, world, monkeypatch):
        async with world("brevo", max_calls=3) as at:
            gate = asyncio.Event()
            keep = at.gateway._keeper.keep

            async def slowly(records, seconds):
                await gate.wait()
                return await keep(records, seconds)

            monkeypatch.setattr(at.gateway._keeper, "keep", slowly)
            calls = [asyncio.create_task(at.caller.call(signed_call("brevo", f"a={number}"))) for number in range(5)]
            await until(lambda: at.count("brevo", "again") == 2)
            gate.set()
            assert sorted([(await call)[0] for call in calls]) == [200, 200, 200, 429, 429]

    async def test_more_calls_in_a_second_than_a_route_takes_are_to_come_again(self, tmp_path):
        routes = route_of("brevo").replace("[[routes]]", "[[routes]]\nrate = 0.001") + route_of("twilio")
        async with a_world(tmp_path, routes) as at:
            told = [(await at.caller.call(signed_call("brevo", f"a={number}")))[0] for number in range(3)]
            assert told == [200, 429, 429]
            assert (await at.caller.call(signed_call("twilio", "a=1")))[0] == 204

    @pytest.mark.parametrize(
        "head",
        [b"X: " + b"x" * 20_000, b"\r\n".join(b"X-%d: 1" % number for number in range(200))],
        ids=["long", "many"],
    )
    async def test_heads_have_a_bound(self, world, head):
        async with world("twilio") as at:
            reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
            writer.write(b"POST /hooks/twilio HTTP/1.1\r\nHost: x\r\n" + head + b"\r\nContent-Length: 0\r\n\r\n")
            assert b" 400 " in (await reader.read())[:20]
            writer.close()

    async def test_a_call_that_fails_here_is_to_come_again_and_its_address_is_not_told(
        self, world, monkeypatch, caplog
    ):
        async with world("jasmin") as at:

            async def fail(*_):
                raise RuntimeError("a fault of ours")

            monkeypatch.setattr(at.gateway._keeper, "keep", fail)
            assert (await at.caller.call(signed_call("jasmin", "a=1")))[0] == 503
            assert "s3cret" not in caplog.text

    async def test_calls_that_are_there_are_answered_before_it_stops(self, world, monkeypatch):
        async with world("twilio") as at:
            gate, keep = asyncio.Event(), at.gateway._keeper.keep

            async def slowly(records, seconds):
                gate.set()
                await asyncio.sleep(0.5)
                return await keep(records, seconds)

            monkeypatch.setattr(at.gateway._keeper, "keep", slowly)
            call = asyncio.create_task(at.caller.call(signed_call("twilio", "a=1")))
            await gate.wait()
            await at.gateway.stop()
            assert (await call)[0] == 204


class TestTls:
    async def test_with_files_of_its_own_which_are_read_again(self, tmp_path, monkeypatch):
        monkeypatch.setattr(running, "_RENEW_SECONDS", 0.05)
        authorities = [trustme.CA(), trustme.CA()]

        def write(authority):
            issued = authority.issue_cert("127.0.0.1")
            issued.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
            issued.private_key_pem.write_to_path(tmp_path / "key.pem")

        write(authorities[0])
        async with a_world(tmp_path, route_of("twilio"), certificate="chain.pem", key="key.pem") as at:

            async def status(authority):
                context = ssl.create_default_context()
                authority.configure_trust(context)
                try:
                    async with (
                        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
                        session.post(f"{at.caller.address}/nowhere") as response,
                    ):
                        return response.status
                except aiohttp.ClientConnectorCertificateError:
                    return 0

            assert [await status(each) for each in authorities] == [404, 0]
            (tmp_path / "key.pem").write_text("half", encoding="utf-8")
            await asyncio.sleep(0.3)
            assert [await status(each) for each in authorities] == [404, 0], "a key that does not fit changes nothing"
            write(authorities[1])
            deadline = time.monotonic() + 180
            while await status(authorities[1]) != 404:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert await status(authorities[0]) == 0

    async def test_who_does_not_shake_hands_has_no_more_room_than_others(self, tmp_path):
        """More than there may be connections say nothing; calls are answered all the while."""
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        keys = {"certificate": "chain.pem", "key": "key.pem", "max_connections": 20}
        async with (
            a_world(tmp_path, route_of("twilio"), **keys) as at,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, force_close=True)) as session,
        ):
            opened = [await asyncio.open_connection("127.0.0.1", at.port) for _ in range(60)]
            for _ in range(5):
                async with session.post(f"{at.caller.address}/nowhere") as response:
                    assert response.status == 404
            listener = next(iter(at.gateway._public._runner.sites))._server
            assert len(listener._shaking) <= 8, "at least, or a fourth of what there may be"
            for reader, writer in opened:
                # The ones that have waited longest have made room; what is no handshake ends the others.
                with suppress(ConnectionError):
                    writer.write(b"no TLS at all")
                    await reader.read()
                writer.close()


class TestOperators:
    async def test_see_whether_calls_can_be_taken_and_the_metrics(self, world):
        async with world("twilio") as at:
            assert (await at.get("/livez"))[0] == 200
            assert await at.get("/readyz") == (200, '{"status":"ready","problems":[]}\n'), "the spool takes them"
            await at.caller.call(signed_call("twilio", "a=1"))
            _, page = await at.get("/metrics")
            assert 'delivery_webhooks_total{outcome="spooled",provider="twilio"} 1.0' in page
            assert "delivery_spool_records 1.0" in page

    async def test_every_way_to_sign_is_tried_here(self):
        assert {way_of(provider) for provider in ALL} == {"signature", "basic"}
        assert set(SIGNATURES) <= WANTED.keys()
