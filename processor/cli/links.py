"""The command `link`: say which message of ours a provider's id is."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import click

from processor.cli.auditing import write_down
from processor.cli.common import echo, echo_json, json_option
from processor.cli.connection import run_async, settings_from_environment
from processor.engine.admin import count_partitions
from processor.engine.streams import Outgoing, Writer
from processor.providers import ADAPTERS
from processor.settings import Settings
from processor.web.masking import mask_native_id
from processor.wire.audit import Deed
from processor.wire.deadletters import UnusableError
from processor.wire.links import LinkRecord, decode_link, encode_link
from processor.wire.topics import LINKS


@click.command()
@click.option("--provider", required=True, type=click.Choice(sorted(ADAPTERS)), help="Whose id it is.")
@click.option("--account", help="Which account or SMS centre of the provider, where there are several.")
@click.option("--provider-message-id", required=True, help="The provider's id, as its answer to the submit told it.")
@click.option("--message", "message_id", required=True, help="The message id of yours.")
@click.option("--delivery", "delivery_id", help="The delivery that the message belongs to.")
@click.option("--recipient", help="Whom it is about, where the provider's id covers several recipients.")
@click.option("--part", type=click.IntRange(1, 255), help="Which part of a text message the id stands for.")
@click.option("--parts", type=click.IntRange(1, 255), help="How many parts the text message has.")
@json_option
def link(provider: str, as_json: bool, **told: Any) -> None:
    """Publish that a provider's id is a message of yours: its receipts are that message's from then on.

    Whoever sends messages publishes such links itself (docs/links.md); this is for trials, and for what was missed.
    """
    settings = settings_from_environment()
    record = LinkRecord(datetime.now(timezone.utc), provider, **told)
    try:
        decode_link(encode_link(record), None)
    except (UnusableError, UnicodeEncodeError) as error:
        raise click.UsageError(str(getattr(error, "detail", error))) from None
    run_async(settings, lambda: _publish(settings, record))
    topic = settings.topic(LINKS)
    if as_json:
        echo_json({"published": 1, "topic": topic})
    else:
        echo(f"published to {topic}: {provider} {record.provider_message_id} is {record.message_id}")


async def _publish(settings: Settings, record: LinkRecord) -> None:
    topic = settings.topic(LINKS)
    await write_down(settings, Deed.LINK, f"{record.provider} {mask_native_id(record.provider_message_id)}")
    # A producer would wait a minute for a topic that is not there.
    await count_partitions(settings, topic)
    async with Writer(settings) as writer:
        await writer.write(Outgoing(topic, encode_link(record), record.provider_message_id.encode()))
