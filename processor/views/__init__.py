"""Answers for the API and the page: pure functions of records and rows."""
