"""Receive providers' webhooks: verify them, know what each provider wants for an answer, and lose none.

`verifiers` tells whether a call comes from whom it says.
"""
