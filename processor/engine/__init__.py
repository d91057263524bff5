"""Process partitions exactly once: the only package that knows Faust and aiokafka.

Two threads run in a worker: Faust's consumer thread fetches chunks, and the main loop processes and commits them.

* membership/  Faust: the group, which partitions are ours, and chunks of their records; chunks.py: what a chunk is;
* batches.py, expand.py, records.py: what a fetch holds, read within bounds, so that nothing in it stops the reader;
* partition.py one partition's life: opened, a transaction per chunk, opened anew after a failure, closed when drained;
* inbox.py     which chunks it takes; recovery.py: how its state is brought to what is committed; commit.py: how a chunk
  and the offset after it become true together; proof.py: what a committed offset proves of the changelog;
* host.py      what a partition asks of its worker;
* stage.py     what a stage declares and what its work must offer;
* worker.py    life-cycle, fail-fast, and what partitions and the server ask of a worker;
* assignment.py which partitions are ours: opened, suspended, closed; status.py: what is told of one;
* watchdog.py  lag, stalls, books; topic_watch.py: whether the topics are still the same; brokers.py: asks all of that;
* store/       where rows are kept between chunks;
* follower.py  topics that every worker reads whole;
* transactions.py, publishing.py: our producers, whose requests may be lost or late, and whose batches may fail;
* clients.py   every Kafka client that we make; admin.py and streams.py: topics, and plain reading and writing;
* bounds.py, clock.py: waiting that always ends, and the brokers' time.
"""
