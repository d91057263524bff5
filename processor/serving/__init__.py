"""What HTTP servers share: limits on connections, proxies that are trusted, and /metrics."""
