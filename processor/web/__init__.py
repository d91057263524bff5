"""Serve a worker's page, API, metrics and health over HTTP."""
