"""SNS as AWS speaks it: nothing is fetched for a stranger, a subscription is confirmed, and a failure is not kept."""

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver
from structlog.testing import capture_logs

from processor.gateway.subscriptions import Sns
from processor.gateway.verifiers import headers_of
from tests.gateway import conftest
from tests.gateway.conftest import RSA, TOPIC, certificate
from tests.gateway.serving import PUBLIC_URL
from tests.gateway.world import a_world

HOST = "sns.eu-north-1.amazonaws.com"
ROUTE = f'[[routes]]\nprovider = "ses"\ntopics = ["{TOPIC}"]\n'
RAW = f'[[routes]]\nprovider = "ses"\nverify = "basic"\nsecrets = ["value:user:pw"]\ntopics = ["{TOPIC}"]\n'
OTHER_TOPIC = TOPIC.replace("ses-events", "not-ours")


class _Here(AbstractResolver):
    """Every name is this machine's; the certificate must be that of the name all the same."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host, port=0, family=0):
        return [{"hostname": host, "host": "127.0.0.1", "port": self._port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


class FakeSns:
    """An SNS that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.certificate = certificate(RSA, time.time() - 3600, time.time() + 3600)
        self.status = 200
        self.elsewhere: str | None = None
        #: Octets after which it pauses within a certificate.
        self.pause = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        # Those who ask at the same time ask together.
        await asyncio.sleep(0.1)
        if self.elsewhere is not None:
            return web.Response(status=302, headers={"Location": self.elsewhere})
        if self.pause:
            return await self._slowly(request)
        return web.Response(text=self.certificate if request.path.endswith(".pem") else "<x/>", status=self.status)

    async def _slowly(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in (self.certificate[: self.pause], self.certificate[self.pause :]):
            await response.write(part.encode())
            await asyncio.sleep(0.2)
        return response


@asynccontextmanager
async def an_sns(name=HOST):
    authority = trustme.CA()
    served, trusted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(served)
    authority.configure_trust(trusted)
    fake = FakeSns()
    runner = web.ServerRunner(web.Server(fake.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=served).start()
    port = runner.addresses[0][1]
    yield fake, Sns(lambda: aiohttp.TCPConnector(ssl=trusted, resolver=_Here(port), use_dns_cache=False))
    await runner.cleanup()


@pytest.fixture
async def sns():
    async with an_sns() as made:
        yield made


def message(kind="Notification", path="ses", at=None, **fields):
    made = conftest.sns(kind, at=time.time() if at is None else at, **fields)
    return made._replace(url=f"{PUBLIC_URL}/hooks/{path}")


async def test_a_notification_is_taken_and_its_certificate_is_asked_for_once(sns, tmp_path):
    fake, asks = sns
    async with a_world(tmp_path, ROUTE, asks) as at:
        calls = [message(MessageId=f"m-{number}") for number in range(20)]
        answers = await asyncio.gather(*(at.caller.call(call) for call in calls))
        assert [status for status, _, _ in answers] == [200] * 20
        assert fake.asked == ["/SimpleNotificationService-01234abc.pem"]
        records = await at.spooled()
        assert sorted(record.value for record in records) == sorted(call.body for call in calls)


@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation"])
async def test_nothing_is_fetched_for_a_topic_that_is_not_ours(sns, tmp_path, kind):
    fake, asks = sns
    async with a_world(tmp_path, ROUTE, asks) as at:
        fields = {"TopicArn": OTHER_TOPIC}
        if kind != "Notification":
            fields["SubscribeURL"] = f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={OTHER_TOPIC}&Token=1"
        assert (await at.caller.call(message(kind, **fields)))[0] == 403
        assert (await at.caller.call(message(kind, SigningCertURL="https://evil.example/a.pem")))[0] == 403
        assert fake.asked == []


async def test_a_subscription_is_confirmed_and_becomes_no_record(sns, tmp_path):
    fake, asks = sns
    async with a_world(tmp_path, ROUTE, asks) as at:
        assert (await at.caller.call(message("SubscriptionConfirmation")))[0] == 200
        [_, confirmed] = fake.asked
        asked = parse_qs(urlsplit(confirmed).query)
        assert (asked["Action"], asked["TopicArn"]) == (["ConfirmSubscription"], [TOPIC])
        assert await at.spooled() == []
        assert at.count("ses", "taken") == 1


async def test_one_that_cannot_be_confirmed_is_to_come_again(sns, tmp_path):
    fake, asks = sns
    async with a_world(tmp_path, ROUTE, asks) as at:
        assert (await at.caller.call(message()))[0] == 200
        fake.status = 500
        assert (await at.caller.call(message("SubscriptionConfirmation")))[0] == 503
        fake.status = 200
        assert (await at.caller.call(message("SubscriptionConfirmation")))[0] == 200


async def test_a_redirect_is_not_followed(sns, tmp_path):
    fake, asks = sns
    async with a_world(tmp_path, ROUTE, asks) as at:
        fake.elsewhere = "http://169.254.169.254/latest/meta-data"
        assert (await at.caller.call(message()))[0] == 503
        assert len(fake.asked) == 1


async def test_a_certificate_that_could_not_be_had_is_asked_for_again(sns, tmp_path):
    fake, asks = sns
    async with a_world(tmp_path, ROUTE, asks) as at:
        fake.status = 503
        assert (await at.caller.call(message()))[0] == 503
        fake.status = 200
        assert (await at.caller.call(message()))[0] == 200


async def test_a_certificate_may_come_in_pieces(sns, tmp_path):
    fake, asks = sns
    fake.pause = 500
    async with a_world(tmp_path, ROUTE, asks) as at:
        assert (await at.caller.call(message()))[0] == 200


@pytest.mark.parametrize("told", ["", "<html>Please log in</html>", "cut"])
async def test_what_is_no_certificate_is_not_remembered(sns, tmp_path, told):
    fake, asks = sns
    right = fake.certificate
    fake.certificate = right[:500] if told == "cut" else told
    async with a_world(tmp_path, ROUTE, asks) as at:
        assert (await at.caller.call(message()))[0] == 503
        fake.certificate = right
        assert (await at.caller.call(message()))[0] == 200


async def test_who_is_not_sns_is_not_believed(tmp_path):
    """Its name leads to somebody else: the certificate of the connection is not that of the name."""
    async with an_sns("sns.example.com") as (fake, asks), a_world(tmp_path, ROUTE, asks) as at:
        assert (await at.caller.call(message()))[0] == 503
        assert fake.asked == []


async def test_a_wrong_signature_confirms_nothing(sns, tmp_path):
    fake, asks = sns
    async with a_world(tmp_path, ROUTE, asks) as at:
        assert (await at.caller.call(message("SubscriptionConfirmation", key=conftest.OTHER_RSA)))[0] == 403
        assert fake.asked == ["/SimpleNotificationService-01234abc.pem"]


async def test_the_end_of_a_subscription_is_told_and_not_undone(sns, tmp_path):
    fake, asks = sns
    async with a_world(tmp_path, ROUTE, asks) as at:
        with capture_logs() as lines:
            assert (await at.caller.call(message("UnsubscribeConfirmation")))[0] == 200
        assert [line["topic"] for line in lines if line["event"] == "sns_unsubscribed"] == [TOPIC]
        assert len(fake.asked) == 1


class TestRawDelivery:
    """It has no signature, so a password stands for it; the handshake is signed, and it alone is acted upon."""

    PASSWORD = (("Authorization", "Basic dXNlcjpwdw=="),)

    async def test_is_taken_by_password(self, sns, tmp_path):
        _, asks = sns
        async with a_world(tmp_path, RAW, asks) as at:
            body = json.dumps({"eventType": "Delivery", "mail": {"messageId": "1"}}).encode()
            headers = headers_of([("x-amz-sns-message-type", "Notification"), ("x-amz-sns-rawdelivery", "true")])
            call = message()._replace(body=body, headers=headers)
            status, _, more = await at.caller.call(call)
            assert (status, more["WWW-Authenticate"][:5]) == (401, "Basic"), "SNS sends it only when it is asked"
            assert (await at.caller.call(call._replace(headers=headers | headers_of(self.PASSWORD))))[0] == 200
            assert [record.value for record in await at.spooled()] == [body]

    async def test_its_handshake_is_verified_as_well(self, sns, tmp_path):
        fake, asks = sns
        async with a_world(tmp_path, RAW, asks) as at:
            for more, wanted in (({"key": conftest.OTHER_RSA}, 403), ({"TopicArn": OTHER_TOPIC}, 403), ({}, 200)):
                call = message("SubscriptionConfirmation", **more)
                call = call._replace(headers={**call.headers, **headers_of(self.PASSWORD)})
                assert (await at.caller.call(call))[0] == wanted
            assert [path[:2] for path in fake.asked] == ["/S", "/?"]
