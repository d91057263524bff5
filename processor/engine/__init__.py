"""How a worker folds partitions exactly once: the only place that knows Faust and aiokafka.

What must be true, and which module sees to it:

* chunks.py    Faust's consumer, made to hand over chunks that say where they start and end;
* partition.py one partition: recovery, a transaction per chunk, drained closing;
* stage.py     what a stage declares and what its work must offer;
* worker.py    membership, assignment, life-cycle, fail-fast, watchdog;
* store/       where rows are kept between chunks;
* transactions.py the producer whose transactions end as told, whatever requests come late;
* clients.py   every Kafka client that we make; admin.py and streams.py: topics, and plain reading and writing.
"""
