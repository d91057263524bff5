"""Membership of the consumer group: the only place that knows Faust.

* membership.py what a worker sees of it: start, stop, what it has, chunks, seek, position, wake, crash
* consumer.py  Faust's consumer, made to hand over chunks of records that say where they start and end
* app.py, assignor.py  Faust's app over that consumer, and how a worker joins its group and shares partitions out
* agreement.py settings that all workers of a group must share, and waiting until they do
* members.py   which worker owns which partition, as the broker tells it
"""
