"""Process partitions exactly once: the only package that knows Faust, and a worker's only one that knows aiokafka.

Two threads run in a worker: Faust's consumer thread fetches chunks, and the main loop processes and commits them.

* membership/  Faust: group membership, assignment, fetching of chunks; chunks.py: a chunk;
* batches.py, expand.py, records.py: the records of a fetch, read within limits, so that no content stops the reader;
* partition.py the life-cycle of a partition: open, process chunks, reopen after an error, close;
* inbox.py     which chunks a partition accepts, and what all of a worker hold; left_open.py: what its predecessors left
  open, ended; recovery.py: its state restored to what is committed; commit.py: a chunk's records and its offset;
  proof.py: the proof of the changelog in a committed offset;
* rounds.py    the worker's transactions, each over all partitions that have something; predecessors.py: whose
  transactions hang, and their end; lost_markers.py: what broker crashes leave undecided in topics;
* host.py      what a partition needs from its worker; together.py, shared_reader.py: what all that are opened ask and
  read at once;
* stage.py     the declaration of a stage, and the interface of its work;
* worker.py    the life-cycle of a worker, fail-fast, and its interface to partitions and server;
* assignment.py the partitions of this worker: opened, suspended, closed; status.py: the status of one;
* watchdog.py  lag, stalls, conservation of counts; topic_watch.py: changes of topics; brokers.py: questions for both;
* store/       rows between chunks;
* follower.py  topics that every worker reads whole;
* transactions.py, publishing.py: the producers, safe against lost and late requests and failed batches; protocol.py:
  requests in versions that aiokafka does not send; pin.py: the membership that commits carry;
* shadow.py    the guard that keeps a shadow out of the live group;
* replaying.py dead letters replayed or discarded, each once; letters.py: some of
  them, for the API and the page; backwards.py: a topic read from its end; audits.py: the audit, so read;
* outlet.py    publishes for callers who wait for the brokers' answer;
* clients.py   every Kafka client; admin.py and streams.py: topics, and plain reading and writing;
* bounds.py, clock.py: waiting with a limit, and the brokers' time.
"""
