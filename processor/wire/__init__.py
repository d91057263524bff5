"""Bytes on the wire: topics, keys, headers, and every format that is read or written.

The published forms are schemas/*.json; tests/contract compares them with this package.
"""
