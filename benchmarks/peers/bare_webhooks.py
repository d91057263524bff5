"""The peer of the gateway: an aiohttp handler that only produces. It verifies nothing, and has no disk.

python benchmarks/peers/bare_webhooks.py PORT BROKERS TOPIC
"""

import asyncio
import sys

import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer


async def main(port: int, brokers: str, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()

    async def take(request: web.Request) -> web.Response:
        await producer.send_and_wait(topic, await request.read())
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/hooks/{provider}", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
