"""Pins, stable offsets and fencing over TLS and SASL, with the rights that docs/security.md gives workers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from aiokafka.errors import TopicAuthorizationFailedError

from processor.demo.broker import EmbeddedKafka, Listener
from processor.engine.predecessors import transactions, undecided
from processor.settings import Settings
from tests.engine.eos.stand import Stand
from tests.engine.harness import eventually
from tests.engine.test_rights import rights
from tests.engine.test_security import pkcs8

pytestmark = [pytest.mark.kafka, pytest.mark.trial]

PASSWORD = "a-password-of-theirs"


class Guarded(NamedTuple):
    """A broker that asks who one is and what one may, and its authority."""

    broker: EmbeddedKafka
    authority: Path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    chain = "".join(blob.bytes().decode() for blob in server.cert_chain_pems)
    file = tmp_path_factory.mktemp("certificates") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    listener = Listener("LOGIN_TLS", "SASL_SSL", None, chain, pkcs8(server.private_key_pem.bytes()))
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with EmbeddedKafka(listeners=[listener], users={"worker": PASSWORD}, properties=properties) as running:
        yield Guarded(running, file)


async def grant(stand: Stand) -> None:
    """Give workers what the page gives them, for the topics and the group of a stand."""
    for right in rights(replace(stand.settings, topic_prefix=f"{stand.name}-")):
        response = await stand.admin._send_request(right)
        assert [code for code, *_ in response.creation_responses] == [0]


def as_worker(guarded: Guarded, settings: Settings) -> Settings:
    return replace(
        settings,
        brokers=guarded.broker.address("LOGIN_TLS"),
        security_protocol="SASL_SSL",
        tls_ca_file=guarded.authority,
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="worker",
        sasl_password=PASSWORD,
    )


async def test_a_workers_rights_are_enough_for_all_but_a_look_at_the_groups_offsets(guarded):
    async with Stand(guarded.broker.bootstrap_servers) as ours:
        await grant(ours)
        async with Stand(guarded.broker.bootstrap_servers, name=ours.name) as theirs:
            theirs.settings = as_worker(guarded, theirs.settings)
            theirs.admin = await theirs.asker(10_000)
            member, hanging = await theirs.join(), await theirs.producer("a")
            await theirs.transaction(hanging, member.pin, b"first", 10)
            assert await theirs.settled_offset() == 10
            await hanging.begin_transaction()
            await theirs.write(hanging, theirs.changelogs, b"hangs")
            await theirs.move(hanging, member.pin, dict.fromkeys(theirs.inputs, 20))
            assert await theirs.is_unstable()

            found = await undecided(theirs.admin, theirs.changelogs)
            [transaction] = await transactions(theirs.admin, producer_ids={each.producer_id for each in found})
            assert transaction.transactional_id == theirs.transactional_id("a")
            with pytest.raises(TopicAuthorizationFailedError):
                await undecided(theirs.admin, [await ours.offsets_partition()])
            # Without a look at the offsets, the ids that we may see are those of our group.
            assert {each.transactional_id for each in await transactions(theirs.admin)} == {
                transaction.transactional_id
            }

            await theirs.end_transactions(transaction.transactional_id, theirs.changelogs)
            assert await theirs.settled_offset() == 10
            await eventually(lambda: _not(theirs.hangs(theirs.changelogs[0])), "its records are decided")
            await theirs.transaction(await theirs.producer("b"), member.pin, b"second", 20)
            assert await theirs.settled_offset() == 20
            await theirs.show([b"first", b"second"])


async def _not(awaitable):
    return not await awaitable
