"""Receive providers' webhooks: verify them, know what each provider wants for an answer, and lose none.

`verifiers` tells whether a call comes from whom it says, `dialects` how each provider calls and what it is to be
answered, `records` makes records of a call, `config` reads the file of routes, `spool` keeps records on disk.

A call comes in at `server`, within the bounds of `bodies` and `bounds`; `receiver` says what becomes of it, `keeper`
keeps its records in Kafka or in the spool, `subscriptions` asks SNS, `running` puts all of it together. `trial` judges
calls that were written down; `signing` signs calls as providers do, and `sending` sends them, for trials.
"""
