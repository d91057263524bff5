"""How a worker folds partitions exactly once: the only place that knows Faust and aiokafka.

What must be true, and which module sees to it:

* chunks.py    Faust's consumer, made to hand over chunks that say where they start and end;
* partition.py one partition: recovery, a transaction per chunk, drained closing;
* stage.py     what a stage declares and what its work must offer;
* worker.py    membership, assignment, life-cycle, fail-fast, watchdog;
* store/       where rows are kept between chunks;
* transactions.py, publishing.py: our producers, whose requests may be lost or late, and whose batches may fail;
* clients.py   every Kafka client that we make; admin.py and streams.py: topics, and plain reading and writing.
"""
