"""A receiver to try alerts with: writes each that Alertmanager sends as a line of JSON, and answers 200.

`docker compose logs --follow webhook` shows them. Real receivers (mail, chat, a pager) go into alertmanager.yml.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 8090

#: A message of Alertmanager's has a few kilobytes for each alert.
_MAX_BYTES = 1 << 20


class Webhook(BaseHTTPRequestHandler):
    """Takes the messages of one Alertmanager."""

    timeout = 10

    def do_POST(self) -> None:
        """Write the alerts of a message; its path tells whom it is for."""
        try:
            length = min(int(self.headers.get("Content-Length", "0")), _MAX_BYTES)
            lines = [line(self.path, alert) for alert in json.loads(self.rfile.read(length))["alerts"]]
        except (ValueError, LookupError, TypeError) as error:
            self.send_error(400, explain=repr(error))
            return
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        """Say that it is there."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing but alerts."""


def line(path: str, alert: dict[str, Any]) -> str:
    """Return what is written of an alert."""
    labels, told = alert["labels"], alert.get("annotations", {})
    facts = {
        "receiver": path.strip("/"),
        "status": alert["status"],
        "alert": labels["alertname"],
        "summary": told.get("summary", ""),
        "runbook": told.get("runbook_url", ""),
        "since": alert["startsAt"],
        "labels": {name: value for name, value in labels.items() if name != "alertname"},
    }
    return json.dumps(facts, ensure_ascii=False) + "\n"


def main(port: int) -> None:
    """Serve until the process is ended."""
    with ThreadingHTTPServer(("", port), Webhook) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PORT)
