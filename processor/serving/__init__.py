"""Shared by the HTTP servers: limits on connections, proxies that are trusted, and /metrics."""
