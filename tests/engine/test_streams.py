"""What writes to topics outside of transactions."""

import socket

import pytest
from aiokafka.errors import KafkaConnectionError

from processor.engine.streams import Writer
from processor.settings import Settings


async def test_a_writer_that_cannot_start_leaves_nothing_open():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        writer = Writer(Settings(brokers=f"127.0.0.1:{nobody.getsockname()[1]}"))
        # A producer that is not stopped says so when it goes, and warnings are errors here.
        with pytest.raises(KafkaConnectionError):
            await writer.__aenter__()
