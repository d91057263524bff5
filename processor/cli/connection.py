"""Shared by commands that query the brokers: settings, an event loop, and texts for Kafka's errors."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from processor import logs
from processor.cli.common import EXIT_NOT_FOUND, EXIT_UNREACHABLE, Failure
from processor.engine.admin import MissingTopicError
from processor.engine.clients import KafkaConnectionError, KafkaError
from processor.settings import Settings, load

Result = TypeVar("Result")


def settings_from_environment() -> Settings:
    """Read the settings, for a command that tells by itself what is wrong: the log speaks only of what is critical.

    Raises:
        SettingsError: with every problem at once.
    """
    settings = load(os.environ)
    logs.configure("CRITICAL", settings.log_format)
    return settings


def run_async(settings: Settings, main: Callable[[], Awaitable[Result]]) -> Result:
    """Run a coroutine that talks to Kafka; explain it if Kafka cannot be reached."""

    async def guarded() -> Result:
        return await main()

    try:
        return uvloop.run(guarded())
    except KafkaConnectionError as error:
        raise Failure(_told_unreachable(settings, error), EXIT_UNREACHABLE) from None
    except KafkaError as error:
        raise Failure(f"Kafka says: {error!r}") from error
    except MissingTopicError as error:
        raise Failure(str(error), EXIT_NOT_FOUND) from None


def _told_unreachable(settings: Settings, error: Exception) -> str:
    told = f"no broker answers at {settings.brokers} (DELIVERY_BROKERS): {error}"
    if settings.uses_sasl or settings.uses_tls:
        # A client learns no more than that the broker hung up on it.
        told += f"; or it refuses {settings.security_protocol}: look at DELIVERY_SASL_* and DELIVERY_TLS_*, and its log"
    return told
