// Kafka Streams with the same fold: exactly_once_v2, one task a partition, rows in RocksDB or in memory.
//
// One source file without dependencies beside kafka-streams: JSON is read and written by hand, for speed.
// BENCH_FEED says where the rows are published:
//   topic      a JSON record per change on the topic of messages; the store and its changelog hold compact binary rows,
//              which the JSON record has in base64, as `memory`;
//   changelog  the store holds the JSON rows, so that its changelog is the feed, as in delivery-status: one record less.
// BENCH_RAW: where it is given, payloads are read from that topic first, and their events written to BENCH_TOPIC: two
// sub-topologies of one application, as normalize and fold are two stages of one worker. Twilio's form only, with the
// two error codes that the load has.
// Counts: the changelog of the store `counts` (JSON by `delivery|partition`, written once a commit through the cache).
// Left out: counts but those by status, the evidence of rejections, dead letters, sending on what came to the wrong
// partition, metrics of the domain.

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;

import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.Cache;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;

public final class KafkaStreams {
    static final String GROUP = System.getenv("BENCH_GROUP");
    static final boolean IN_MEMORY = "memory".equals(System.getenv("BENCH_STORE"));
    static final boolean FEED_IS_CHANGELOG = "changelog".equals(System.getenv("BENCH_FEED"));

    public static void main(String[] arguments) throws InterruptedException {
        var streams = new org.apache.kafka.streams.KafkaStreams(topology(), properties());
        var ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(10));
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }

    static Properties properties() {
        var properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, GROUP);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BENCH_BROKERS"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("BENCH_DATA"));
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, System.getenv("BENCH_THREADS"));
        properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64 << 20);
        properties.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 5_000);
        properties.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, Rocks.class);
        properties.put(StreamsConfig.mainConsumerPrefix("max.poll.records"), 5_000);
        properties.put(StreamsConfig.producerPrefix("batch.size"), 256 << 10);
        properties.put(StreamsConfig.producerPrefix("buffer.memory"), 128 << 20);
        return properties;
    }

    static Topology topology() {
        var topology = new Topology();
        var bytes = new ByteArrayDeserializer();
        var sink = new ByteArraySerializer();
        String raw = System.getenv("BENCH_RAW");
        if (raw != null) {
            topology.addSource("payloads", bytes, bytes, raw);
            topology.addProcessor("normalize", NormalizeProcessor::new, "payloads");
            topology.addSink("normalized", System.getenv("BENCH_TOPIC"), sink, sink, "normalize");
        }
        topology.addSource("events", bytes, bytes, System.getenv("BENCH_TOPIC"));
        topology.addProcessor("fold", FoldProcessor::new, "events");
        topology.addStateStore(rows(), "fold");
        topology.addStateStore(counts(), "fold");
        if (!FEED_IS_CHANGELOG) {
            topology.addSink("messages", System.getenv("BENCH_MESSAGES"), sink, sink, "fold");
        }
        return topology;
    }

    static StoreBuilder<KeyValueStore<byte[], byte[]>> rows() {
        KeyValueBytesStoreSupplier supplier =
            IN_MEMORY ? Stores.inMemoryKeyValueStore("rows") : Stores.persistentKeyValueStore("rows");
        var builder = Stores.keyValueStoreBuilder(supplier, Serdes.ByteArray(), Serdes.ByteArray());
        // Without the cache: rows come back too late for it, and with it this ran slower, in memory and in RocksDB.
        return builder.withLoggingEnabled(Map.of()).withCachingDisabled();
    }

    static StoreBuilder<KeyValueStore<String, byte[]>> counts() {
        var supplier = Stores.inMemoryKeyValueStore("counts");
        return Stores.keyValueStoreBuilder(supplier, Serdes.String(), Serdes.ByteArray())
            .withLoggingEnabled(Map.of()).withCachingEnabled();
    }

    /** One block cache for the whole process, and larger write buffers, which make fewer files. */
    public static final class Rocks implements RocksDBConfigSetter {
        private static final Cache CACHE = new LRUCache(256L << 20);

        @Override
        public void setConfig(String storeName, Options options, Map<String, Object> configs) {
            ((BlockBasedTableConfig) options.tableFormatConfig()).setBlockCache(CACHE);
            options.setWriteBufferSize(32L << 20);
        }

        @Override
        public void close(String storeName, Options options) {
            // The cache outlives each store.
        }
    }
}

/** What the adapter of Twilio and the stage normalize do, for callbacks that carry our ids. */
final class NormalizeProcessor implements Processor<byte[], byte[], byte[], byte[]> {
    private static final Map<String, String> STATUSES = Map.of(
        "accepted", "taken_into_account", "scheduled", "taken_into_account", "queued", "taken_into_account",
        "sending", "taken_into_account", "sent", "sent", "delivered", "received_on_mobile",
        "partially_delivered", "received_on_mobile", "undelivered", "failed", "failed", "failed", "canceled", "canceled");
    /** How final, and of what kind. */
    private static final Map<String, String[]> ERRORS = Map.of(
        "30003", new String[] {"gave_up", "not_connected"}, "30005", new String[] {"permanent", "user_unknown"});

    private final Out out = new Out();
    private final Map<String, String> form = new HashMap<>();
    private ProcessorContext<byte[], byte[]> context;

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        read(new String(record.value(), StandardCharsets.UTF_8));
        String status = STATUSES.get(form.getOrDefault("MessageStatus", ""));
        String message = form.get("message_id");
        if (status == null || message == null) {
            return;
        }
        out.clear();
        out.raw("{\"time\":\"");
        Moment.write(out, record.timestamp() * 1_000);
        out.raw("\",\"message_id\":").string(message);
        out.raw(",\"channel\":\"sms\",\"status\":").string(status);
        out.raw(",\"delivery_id\":").string(form.get("delivery_id"));
        out.raw(",\"provider\":\"twilio\",\"provider_message_id\":").string(form.get("MessageSid"));
        out.raw(",\"recipient\":").string(form.get("To"));
        if (status.equals("failed")) {
            String code = form.get("ErrorCode");
            String[] means = ERRORS.getOrDefault(code, new String[] {"permanent", "undefined"});
            out.raw(",\"reason\":{\"permanence\":").string(means[0]).raw(",\"category\":").string(means[1]);
            out.raw(",\"provider_code\":").string(code).raw("}");
        }
        out.raw(",\"from_payload\":true}");
        context.forward(record.withKey(message.getBytes(StandardCharsets.UTF_8)).withValue(out.bytes()));
    }

    private void read(String body) {
        form.clear();
        for (int from = 0; from < body.length();) {
            int end = body.indexOf('&', from);
            end = end < 0 ? body.length() : end;
            int equals = body.indexOf('=', from);
            if (equals > from && equals < end) {
                form.putIfAbsent(decoded(body.substring(from, equals)), decoded(body.substring(equals + 1, end)));
            }
            from = end + 1;
        }
    }

    private static String decoded(String text) {
        boolean isPlain = text.indexOf('%') < 0 && text.indexOf('+') < 0;
        return isPlain ? text : URLDecoder.decode(text, StandardCharsets.UTF_8);
    }
}

final class FoldProcessor implements Processor<byte[], byte[], byte[], byte[]> {
    private final Out out = new Out();
    private final Map<String, int[]> countsByDelivery = new HashMap<>();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> rows;
    private KeyValueStore<String, byte[]> counts;
    private int partition;

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        rows = context.getStateStore("rows");
        counts = context.getStateStore("counts");
        partition = context.taskId().partition();
        countsByDelivery.clear();
        try (KeyValueIterator<String, byte[]> all = counts.all()) {
            all.forEachRemaining(entry -> countsByDelivery.put(
                entry.key.substring(0, entry.key.lastIndexOf('|')), CountsJson.read(entry.value)));
        }
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        Event event = Event.read(record.value());
        if (event == null) {
            return;
        }
        byte[] key = record.key();
        byte[] kept = rows.get(key);
        Row before = kept == null ? null
            : KafkaStreams.FEED_IS_CHANGELOG ? RowJson.read(kept) : RowBinary.read(kept);
        Row row = Fold.fold(before, event);
        if (row == before) {
            return;
        }
        byte[] binary = RowBinary.write(out, row);
        byte[] json = RowJson.write(out, event.messageId, row, before, binary);
        if (KafkaStreams.FEED_IS_CHANGELOG) {
            rows.put(key, json);
        } else {
            rows.put(key, binary);
            context.forward(record.withKey(key).withValue(json));
        }
        count(before, row);
    }

    private void count(Row before, Row row) {
        String delivery = row.delivery();
        if (before != null) {
            String former = before.delivery();
            if (before.node == row.node && former.equals(delivery)) {
                return;
            }
            add(former, before.node, -1);
            if (!former.equals(delivery)) {
                publish(former);
            }
        }
        add(delivery, row.node, 1);
        publish(delivery);
    }

    private void add(String delivery, int node, int change) {
        countsByDelivery.computeIfAbsent(delivery, absent -> new int[Nodes.STATUSES.length])[Nodes.STATUS_INDEX[node]]
            += change;
    }

    private void publish(String delivery) {
        byte[] value = CountsJson.write(out, delivery, partition, countsByDelivery.get(delivery));
        counts.put(delivery + '|' + partition, value);
    }
}

/** The nodes in order of rank, and what may follow what. */
final class Nodes {
    static final int PENDING = 0, PREPARED = 1, CANCELED = 2, NOT_APPLICABLE = 3, IGNORED = 4, TO_PROVIDER = 5, TAKEN = 6,
        SENT = 7, GAVE_UP = 8, FAILED = 9, RECEIVED = 10;
    static final String[] NAMES = {"pending", "prepared", "canceled", "not_applicable", "ignored", "sent_to_provider",
        "taken_into_account", "sent", "failed_gave_up", "failed", "received_on_mobile"};
    /** In the order in which counts are written. */
    static final String[] STATUSES = {"pending", "prepared", "sent_to_provider", "taken_into_account", "sent",
        "received_on_mobile", "failed", "ignored", "canceled", "not_applicable"};
    static final int[] STATUS_INDEX = {0, 1, 8, 9, 7, 2, 3, 4, 6, 6, 5};
    static final String[] CHANNELS = {"email", "sms"};
    static final int EMAIL = 0, SMS = 1;
    private static final int ALL = (1 << 11) - 1;
    /** Bit sets by channel and node; -1: the channel does not have the node. */
    static final int[][] AFTER = {new int[11], new int[11]};
    static final int REOPENING = set(PREPARED, TO_PROVIDER, TAKEN, SENT);

    static {
        Arrays.fill(AFTER[EMAIL], -1);
        AFTER[EMAIL][PENDING] = set(TAKEN, SENT, FAILED, GAVE_UP, IGNORED, CANCELED, NOT_APPLICABLE);
        AFTER[EMAIL][TAKEN] = set(SENT, FAILED, GAVE_UP, IGNORED, CANCELED, NOT_APPLICABLE);
        AFTER[EMAIL][SENT] = set(FAILED, GAVE_UP);
        AFTER[EMAIL][GAVE_UP] = set(SENT, FAILED);
        AFTER[EMAIL][CANCELED] = set(SENT, FAILED, GAVE_UP);
        AFTER[EMAIL][FAILED] = AFTER[EMAIL][IGNORED] = AFTER[EMAIL][NOT_APPLICABLE] = 0;
        AFTER[SMS][PENDING] = ALL & ~set(PENDING);
        AFTER[SMS][PREPARED] = ALL & ~set(PENDING, PREPARED);
        AFTER[SMS][TO_PROVIDER] = set(TAKEN, SENT, RECEIVED, FAILED, GAVE_UP, IGNORED, CANCELED);
        AFTER[SMS][TAKEN] = set(SENT, RECEIVED, FAILED, GAVE_UP, IGNORED, CANCELED);
        AFTER[SMS][SENT] = set(RECEIVED, FAILED, GAVE_UP);
        AFTER[SMS][GAVE_UP] = set(RECEIVED, FAILED);
        AFTER[SMS][CANCELED] = set(SENT, RECEIVED, FAILED, GAVE_UP);
    }

    static int set(int... nodes) {
        int bits = 0;
        for (int node : nodes) {
            bits |= 1 << node;
        }
        return bits;
    }

    static boolean has(int channel, int node) {
        return AFTER[channel][node] >= 0;
    }

    static boolean follows(int channel, int current, int candidate) {
        return has(channel, current) && (AFTER[channel][current] & 1 << candidate) != 0;
    }

    static boolean mayMove(int channel, int current, int currentAttempt, int candidate, int attempt) {
        return follows(channel, current, candidate)
            || current == GAVE_UP && attempt > currentAttempt && (REOPENING & 1 << candidate) != 0 && has(channel, candidate);
    }

    static String permanence(int node) {
        return node == FAILED ? "permanent" : node == GAVE_UP ? "gave_up" : null;
    }

    static int byName(String name) {
        for (int node = 0; node < NAMES.length; node++) {
            if (NAMES[node].equals(name)) {
                return node;
            }
        }
        return -1;
    }
}

record Observation(int attempt, int node, long first, long last) { }

record Claim(long time, String value) { }

record Reason(String permanence, String category, String code, String providerCode, String text) {
    boolean isEmpty() {
        return permanence == null && category == null && code == null && providerCode == null && text == null;
    }

    int compareTo(Reason other) {
        int order = compare(permanence, other.permanence);
        order = order != 0 ? order : compare(category, other.category);
        order = order != 0 ? order : compare(code, other.code);
        order = order != 0 ? order : compare(providerCode, other.providerCode);
        return order != 0 ? order : compare(text, other.text);
    }

    private static int compare(String one, String other) {
        if (one == null || other == null) {
            return Boolean.compare(one != null, other != null);
        }
        return one.compareTo(other);
    }
}

record NodeReason(int node, long time, Reason reason) { }

/** All that is known of one message; `rejected` is a set of bits. */
final class Row {
    static final NodeReason[] NO_REASONS = {};
    int channel, node, attempt, rejected;
    long since;
    Observation[] observations;
    Claim deliveryId, recipient, provider, providerMessageId;
    NodeReason[] reasons = NO_REASONS;

    String delivery() {
        return deliveryId == null ? "" : deliveryId.value();
    }
}

/** Where a walk over the observations stands. */
final class Walk {
    int node, attempt, rejected;
    long since;

    Walk(int node, long since, int attempt, int rejected) {
        this.node = node;
        this.since = since;
        this.attempt = attempt;
        this.rejected = rejected;
    }

    void step(int channel, int candidate, long time, int candidateAttempt) {
        if (candidate == node) {
            return;
        }
        if (Nodes.mayMove(channel, node, attempt, candidate, candidateAttempt)) {
            node = candidate;
            since = time;
            attempt = candidateAttempt;
        } else if (!Nodes.follows(channel, candidate, node)) {
            rejected |= 1 << candidate;
        }
    }
}

final class Fold {
    /** Join one event into a row; what comes back is the very row that came in when the event is a duplicate. */
    static Row fold(Row row, Event event) {
        if (row == null) {
            Observation seen = new Observation(event.attempt, event.node, event.time, event.time);
            var walk = new Walk(event.node, event.time, event.attempt, 0);
            return join(new Row(), event, event.channel, walk, new Observation[] {seen});
        }
        if (event.channel == row.channel && isNext(row.observations, event)) {
            var walk = new Walk(row.node, row.since, row.attempt, row.rejected);
            walk.step(row.channel, event.node, event.time, event.attempt);
            Observation seen = new Observation(event.attempt, event.node, event.time, event.time);
            return join(row, event, row.channel, walk, insert(row.observations, seen));
        }
        return joinHistory(row, event);
    }

    private static boolean isNext(Observation[] observations, Event event) {
        for (Observation at : observations) {
            if (at.last() >= event.time || at.attempt() > event.attempt
                || at.node() == event.node && at.attempt() == event.attempt) {
                return false;
            }
        }
        return true;
    }

    private static Row joinHistory(Row row, Event event) {
        Observation[] observations = observe(row.observations, event);
        int channel = joinChannel(row, event);
        if (observations == row.observations && channel == row.channel) {
            var walk = new Walk(row.node, row.since, row.attempt, row.rejected);
            Row joined = join(row, event, channel, walk, observations);
            boolean isSame = joined.deliveryId == row.deliveryId && joined.recipient == row.recipient
                && joined.provider == row.provider && joined.providerMessageId == row.providerMessageId
                && joined.reasons == row.reasons;
            return isSame ? row : joined;
        }
        Walk walk = resolve(channel, observations);
        if (walk == null) {
            walk = new Walk(row.node, row.since, row.attempt, row.rejected);
        }
        return join(row, event, channel, walk, observations);
    }

    private static Walk resolve(int channel, Observation[] observations) {
        var points = new TreeSet<Observation>((one, other) -> {
            int order = Integer.compare(one.attempt(), other.attempt());
            order = order != 0 ? order : Long.compare(one.first(), other.first());
            return order != 0 ? order : Integer.compare(one.node(), other.node());
        });
        int foreign = 0;
        for (Observation at : observations) {
            if (Nodes.has(channel, at.node())) {
                points.add(new Observation(at.attempt(), at.node(), at.first(), 0));
                points.add(new Observation(at.attempt(), at.node(), at.last(), 0));
            } else {
                foreign |= 1 << at.node();
            }
        }
        Walk walk = null;
        for (Observation point : points) {
            if (walk == null) {
                walk = new Walk(point.node(), point.first(), point.attempt(), foreign);
            } else {
                walk.step(channel, point.node(), point.first(), point.attempt());
            }
        }
        return walk;
    }

    private static Observation[] observe(Observation[] observations, Event event) {
        for (int index = 0; index < observations.length; index++) {
            Observation at = observations[index];
            if (at.node() == event.node && at.attempt() == event.attempt) {
                if (at.first() <= event.time && event.time <= at.last()) {
                    return observations;
                }
                Observation[] joined = observations.clone();
                joined[index] = new Observation(event.attempt, event.node, Math.min(at.first(), event.time),
                    Math.max(at.last(), event.time));
                return joined;
            }
        }
        return insert(observations, new Observation(event.attempt, event.node, event.time, event.time));
    }

    private static Observation[] insert(Observation[] observations, Observation seen) {
        int place = observations.length;
        while (place > 0 && isAfter(observations[place - 1], seen)) {
            place--;
        }
        Observation[] joined = Arrays.copyOf(observations, observations.length + 1);
        System.arraycopy(observations, place, joined, place + 1, observations.length - place);
        joined[place] = seen;
        return joined;
    }

    private static boolean isAfter(Observation at, Observation seen) {
        return at.attempt() > seen.attempt() || at.attempt() == seen.attempt() && at.node() > seen.node();
    }

    private static int joinChannel(Row row, Event event) {
        if (event.channel == row.channel) {
            return row.channel;
        }
        long first = Long.MAX_VALUE;
        for (Observation at : row.observations) {
            first = Math.min(first, at.first());
        }
        return first < event.time ? row.channel : first > event.time ? event.channel : Math.min(row.channel, event.channel);
    }

    private static Row join(Row row, Event event, int channel, Walk walk, Observation[] observations) {
        var joined = new Row();
        joined.channel = channel;
        joined.node = walk.node;
        joined.since = walk.since;
        joined.attempt = walk.attempt;
        joined.rejected = walk.rejected;
        joined.observations = observations;
        joined.deliveryId = joinClaim(row.deliveryId, event.deliveryId, event.time);
        joined.recipient = joinClaim(row.recipient, event.recipient, event.time);
        joined.provider = joinClaim(row.provider, event.provider, event.time);
        joined.providerMessageId = joinClaim(row.providerMessageId, event.providerMessageId, event.time);
        joined.reasons = joinReason(row.reasons, event);
        return joined;
    }

    private static Claim joinClaim(Claim claim, String value, long time) {
        if (value == null || value.isEmpty()) {
            return claim;
        }
        if (claim != null && (claim.time() < time || claim.time() == time && claim.value().compareTo(value) <= 0)) {
            return claim;
        }
        return new Claim(time, value);
    }

    private static NodeReason[] joinReason(NodeReason[] reasons, Event event) {
        Reason reason = event.reason;
        if (reason == null || reason.isEmpty()) {
            return reasons;
        }
        int place = 0;
        while (place < reasons.length && reasons[place].node() < event.node) {
            place++;
        }
        var given = new NodeReason(event.node, event.time, reason);
        if (place < reasons.length && reasons[place].node() == event.node) {
            NodeReason former = reasons[place];
            if (event.time < former.time() || event.time == former.time() && reason.compareTo(former.reason()) <= 0) {
                return reasons;
            }
            NodeReason[] joined = reasons.clone();
            joined[place] = given;
            return joined;
        }
        NodeReason[] joined = Arrays.copyOf(reasons, reasons.length + 1);
        System.arraycopy(reasons, place, joined, place + 1, reasons.length - place);
        joined[place] = given;
        return joined;
    }
}

final class Event {
    long time;
    String messageId, deliveryId, provider, providerMessageId, recipient;
    int channel = -1, node = -1, attempt = 1;
    Reason reason;

    /** Read an event; null when it breaks the contract. */
    static Event read(byte[] bytes) {
        var event = new Event();
        var json = new Json(bytes);
        String status = null;
        for (boolean more = json.enter('{', '}'); more; more = json.goOn('}')) {
            switch (json.name()) {
                case "time" -> event.time = Moment.read(json.string());
                case "message_id" -> event.messageId = json.string();
                case "delivery_id" -> event.deliveryId = json.string();
                case "channel" -> event.channel = "email".equals(json.string()) ? Nodes.EMAIL : Nodes.SMS;
                case "status" -> status = json.string();
                case "provider" -> event.provider = json.string();
                case "provider_message_id" -> event.providerMessageId = json.string();
                case "recipient" -> event.recipient = json.string();
                case "attempt" -> event.attempt = (int) json.number();
                case "reason" -> event.reason = json.isNull() ? null : RowJson.readReason(json);
                default -> json.skip();
            }
        }
        if (event.messageId == null || event.channel < 0 || status == null) {
            return null;
        }
        event.node = node(status, event.reason == null ? null : event.reason.permanence());
        return event.node >= 0 && Nodes.has(event.channel, event.node) ? event : null;
    }

    private static int node(String status, String permanence) {
        if (!"failed".equals(status)) {
            return Nodes.byName(status);
        }
        return permanence == null || "permanent".equals(permanence) ? Nodes.FAILED
            : "gave_up".equals(permanence) ? Nodes.GAVE_UP : -1;
    }
}

/** A row as it is published: what people read first, then what the fold remembers. */
final class RowJson {
    static byte[] write(Out out, String messageId, Row row, Row before, byte[] memory) {
        out.clear();
        out.raw("{\"message_id\":").string(messageId);
        out.raw(",\"delivery_id\":").string(value(row.deliveryId));
        out.raw(",\"channel\":").string(Nodes.CHANNELS[row.channel]);
        writeStanding(out.raw(","), row);
        out.raw(",\"reason\":");
        writeReason(out, reasonOf(row));
        out.raw(",\"rejected\":[");
        String comma = "";
        for (int node = 0; node < Nodes.NAMES.length; node++) {
            if ((row.rejected & 1 << node) != 0) {
                out.raw(comma).string(Nodes.NAMES[node]);
                comma = ",";
            }
        }
        out.raw("],\"attempt\":").number(row.attempt);
        out.raw(",\"recipient\":").string(value(row.recipient));
        out.raw(",\"provider\":").string(value(row.provider));
        out.raw(",\"provider_message_id\":").string(value(row.providerMessageId));
        out.raw(",\"memory\":").base64(memory);
        if (before == null) {
            out.raw(",\"previous\":null");
        } else if (before.node != row.node) {
            writeStanding(out.raw(",\"previous\":{"), before);
            out.raw("}");
        }
        return out.raw("}").bytes();
    }

    private static void writeStanding(Out out, Row row) {
        out.raw("\"status\":").string(Nodes.STATUSES[Nodes.STATUS_INDEX[row.node]]);
        out.raw(",\"permanence\":").string(Nodes.permanence(row.node));
        out.raw(",\"since\":\"");
        Moment.write(out, row.since);
        out.raw("\"");
    }

    private static void writeReason(Out out, Reason reason) {
        if (reason == null) {
            out.raw("null");
            return;
        }
        String[] names = {"permanence", "category", "code", "provider_code", "text"};
        String[] values = {
            reason.permanence(), reason.category(), reason.code(), reason.providerCode(), reason.text()};
        String comma = "{";
        for (int index = 0; index < names.length; index++) {
            if (values[index] != null) {
                out.raw(comma).string(names[index]).raw(":").string(values[index]);
                comma = ",";
            }
        }
        out.raw("}");
    }

    private static Reason reasonOf(Row row) {
        for (NodeReason given : row.reasons) {
            if (given.node() == row.node) {
                return given.reason();
            }
        }
        return null;
    }

    private static String value(Claim claim) {
        return claim == null ? null : claim.value();
    }

    /** Read the memory; the rest is for people. */
    static Row read(byte[] bytes) {
        var json = new Json(bytes);
        for (boolean more = json.enter('{', '}'); more; more = json.goOn('}')) {
            if ("memory".equals(json.name())) {
                return RowBinary.read(Base64.getDecoder().decode(json.string()));
            }
            json.skip();
        }
        throw new IllegalArgumentException("a row without memory");
    }

    static Reason readReason(Json json) {
        String permanence = null, category = null, code = null, providerCode = null, text = null;
        for (boolean more = json.enter('{', '}'); more; more = json.goOn('}')) {
            switch (json.name()) {
                case "permanence" -> permanence = json.string();
                case "category" -> category = json.string();
                case "code" -> code = json.string();
                case "provider_code" -> providerCode = json.string();
                case "text" -> text = json.string();
                default -> json.skip();
            }
        }
        text = text != null && text.length() > 1_000 ? text.substring(0, 1_000) : text;
        return new Reason(permanence, category, code, providerCode, text);
    }
}

/** A row as compactly as a store keeps it. */
final class RowBinary {
    static byte[] write(Out out, Row row) {
        out.clear();
        out.put(row.channel << 4 | row.node).put(row.attempt).put(row.rejected >> 8).put(row.rejected).long64(row.since);
        out.put(row.observations.length);
        for (Observation at : row.observations) {
            out.put(at.attempt()).put(at.node()).long64(at.first()).long64(at.last());
        }
        writeClaim(out, row.deliveryId);
        writeClaim(out, row.recipient);
        writeClaim(out, row.provider);
        writeClaim(out, row.providerMessageId);
        out.put(row.reasons.length);
        for (NodeReason given : row.reasons) {
            out.put(given.node()).long64(given.time());
            Reason reason = given.reason();
            out.text(reason.permanence()).text(reason.category()).text(reason.code());
            out.text(reason.providerCode()).text(reason.text());
        }
        return out.bytes();
    }

    private static void writeClaim(Out out, Claim claim) {
        out.text(claim == null ? null : claim.value());
        if (claim != null) {
            out.long64(claim.time());
        }
    }

    static Row read(byte[] bytes) {
        var in = new In(bytes);
        var row = new Row();
        int first = in.take();
        row.channel = first >> 4;
        row.node = first & 15;
        row.attempt = in.take();
        row.rejected = in.take() << 8 | in.take();
        row.since = in.long64();
        row.observations = new Observation[in.take()];
        for (int index = 0; index < row.observations.length; index++) {
            row.observations[index] = new Observation(in.take(), in.take(), in.long64(), in.long64());
        }
        row.deliveryId = readClaim(in);
        row.recipient = readClaim(in);
        row.provider = readClaim(in);
        row.providerMessageId = readClaim(in);
        int reasons = in.take();
        if (reasons > 0) {
            row.reasons = new NodeReason[reasons];
            for (int index = 0; index < reasons; index++) {
                row.reasons[index] = new NodeReason(in.take(), in.long64(),
                    new Reason(in.text(), in.text(), in.text(), in.text(), in.text()));
            }
        }
        return row;
    }

    private static Claim readClaim(In in) {
        String value = in.text();
        return value == null ? null : new Claim(in.long64(), value);
    }
}

/** One partition's absolute counts for one delivery, by status only; the other fields of counts.json are optional. */
final class CountsJson {
    static byte[] write(Out out, String delivery, int partition, int[] counts) {
        int sum = 0;
        for (int number : counts) {
            sum += number;
        }
        out.clear();
        out.raw("{\"delivery_id\":").string(delivery).raw(",\"partition\":").number(partition);
        out.raw(",\"messages\":").number(sum).raw(",\"statuses\":");
        String comma = "{";
        for (int index = 0; index < counts.length; index++) {
            out.raw(comma).string(Nodes.STATUSES[index]).raw(":").number(counts[index]);
            comma = ",";
        }
        return out.raw("}}").bytes();
    }

    static int[] read(byte[] bytes) {
        var counts = new int[Nodes.STATUSES.length];
        var json = new Json(bytes);
        for (boolean more = json.enter('{', '}'); more; more = json.goOn('}')) {
            if ("statuses".equals(json.name())) {
                int index = 0;
                for (boolean next = json.enter('{', '}'); next; next = json.goOn('}')) {
                    json.name();
                    counts[index++] = (int) json.number();
                }
            } else {
                json.skip();
            }
        }
        return counts;
    }
}

/** Moments in microseconds since 1970, and RFC 3339. */
final class Moment {
    static long read(String text) {
        int year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
        long seconds = days(year, month, day) * 86_400L + digits(text, 11, 2) * 3_600L + digits(text, 14, 2) * 60L
            + digits(text, 17, 2);
        int place = 19;
        long micros = 0;
        if (text.charAt(place) == '.') {
            int unit = 100_000;
            for (place++; Character.isDigit(text.charAt(place)); place++, unit /= 10) {
                micros += (long) (text.charAt(place) - '0') * unit;
            }
        }
        char zone = text.charAt(place);
        if (zone == '+' || zone == '-') {
            long offset = digits(text, place + 1, 2) * 3_600L + digits(text, place + 4, 2) * 60L;
            seconds += zone == '+' ? -offset : offset;
        }
        return seconds * 1_000_000L + micros;
    }

    static void write(Out out, long time) {
        long seconds = Math.floorDiv(time, 1_000_000L);
        int micros = (int) Math.floorMod(time, 1_000_000L);
        long days = Math.floorDiv(seconds, 86_400L);
        int ofDay = (int) Math.floorMod(seconds, 86_400L);
        long shifted = days + 719_468, era = Math.floorDiv(shifted, 146_097L), ofEra = shifted - era * 146_097;
        long yearOfEra = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365;
        int ofYear = (int) (ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100));
        int shiftedMonth = (5 * ofYear + 2) / 153, day = ofYear - (153 * shiftedMonth + 2) / 5 + 1;
        int month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
        int year = (int) (yearOfEra + era * 400) + (month <= 2 ? 1 : 0);
        out.padded(year, 4).put('-').padded(month, 2).put('-').padded(day, 2).put('T').padded(ofDay / 3_600, 2).put(':');
        out.padded(ofDay / 60 % 60, 2).put(':').padded(ofDay % 60, 2);
        if (micros % 1_000 != 0) {
            out.put('.').padded(micros, 6);
        } else if (micros != 0) {
            out.put('.').padded(micros / 1_000, 3);
        }
        out.put('Z');
    }

    private static long days(int year, int month, int day) {
        int shifted = month <= 2 ? year - 1 : year;
        long era = Math.floorDiv(shifted, 400);
        long ofEra = shifted - era * 400;
        long ofYear = (153L * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
        return era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468;
    }

    private static int digits(String text, int from, int count) {
        int number = 0;
        for (int index = from; index < from + count; index++) {
            number = number * 10 + text.charAt(index) - '0';
        }
        return number;
    }
}

/** A cursor over JSON: what is valid is read; what is not ends in an exception or nonsense, as no peer is asked about it. */
final class Json {
    private final byte[] bytes;
    private int at;

    Json(byte[] bytes) {
        this.bytes = bytes;
    }

    private byte peek() {
        while (bytes[at] <= ' ' && bytes[at] >= 0) {
            at++;
        }
        return bytes[at];
    }

    /** Step into an object or array; say whether it has members. */
    boolean enter(char open, char close) {
        if (peek() != open) {
            throw new IllegalArgumentException("expected " + open + " at " + at);
        }
        at++;
        if (peek() == close) {
            at++;
            return false;
        }
        return true;
    }

    /** Step over a comma, or out of an object or array; say whether there are more members. */
    boolean goOn(char close) {
        boolean more = peek() != close;
        at++;
        return more;
    }

    String name() {
        String name = string();
        peek();
        at++;
        return name;
    }

    boolean isNull() {
        if (peek() != 'n') {
            return false;
        }
        at += 4;
        return true;
    }

    String string() {
        if (isNull()) {
            return null;
        }
        int start = ++at;
        while (bytes[at] != '"') {
            if (bytes[at] == '\\') {
                return escaped(start);
            }
            at++;
        }
        return new String(bytes, start, at++ - start, StandardCharsets.UTF_8);
    }

    private String escaped(int start) {
        var text = new StringBuilder();
        int from = start;
        for (at = start; bytes[at] != '"'; at++) {
            if (bytes[at] == '\\') {
                text.append(new String(bytes, from, at - from, StandardCharsets.UTF_8));
                char kind = (char) bytes[++at];
                switch (kind) {
                    case 'u' -> {
                        text.append((char) Integer.parseInt(new String(bytes, at + 1, 4, StandardCharsets.US_ASCII), 16));
                        at += 4;
                    }
                    case 'b' -> text.append('\b');
                    case 'f' -> text.append('\f');
                    case 'n' -> text.append('\n');
                    case 'r' -> text.append('\r');
                    case 't' -> text.append('\t');
                    default -> text.append(kind);
                }
                from = at + 1;
            }
        }
        return text.append(new String(bytes, from, at++ - from, StandardCharsets.UTF_8)).toString();
    }

    long number() {
        boolean negative = peek() == '-';
        at += negative ? 1 : 0;
        long number = 0;
        while (bytes[at] >= '0' && bytes[at] <= '9') {
            number = number * 10 + bytes[at++] - '0';
        }
        return negative ? -number : number;
    }

    void skip() {
        switch (peek()) {
            case '"' -> string();
            case '{' -> {
                for (boolean more = enter('{', '}'); more; more = goOn('}')) {
                    name();
                    skip();
                }
            }
            case '[' -> {
                for (boolean more = enter('[', ']'); more; more = goOn(']')) {
                    skip();
                }
            }
            default -> {
                while (bytes[at] != ',' && bytes[at] != '}' && bytes[at] != ']') {
                    at++;
                }
            }
        }
    }
}

/** Bytes that grow. */
final class Out {
    private byte[] bytes = new byte[4_096];
    private int length;

    void clear() {
        length = 0;
    }

    byte[] bytes() {
        return Arrays.copyOf(bytes, length);
    }

    private void reserve(int more) {
        if (length + more > bytes.length) {
            bytes = Arrays.copyOf(bytes, Math.max(bytes.length * 2, length + more));
        }
    }

    Out put(int value) {
        reserve(1);
        bytes[length++] = (byte) value;
        return this;
    }

    Out long64(long value) {
        reserve(8);
        for (int shift = 56; shift >= 0; shift -= 8) {
            bytes[length++] = (byte) (value >> shift);
        }
        return this;
    }

    /** Write text with its length; null is told from empty. */
    Out text(String text) {
        if (text == null) {
            return put(0xFF).put(0xFF);
        }
        byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
        return put(encoded.length >> 8).put(encoded.length).append(encoded);
    }

    private Out append(byte[] more) {
        reserve(more.length);
        System.arraycopy(more, 0, bytes, length, more.length);
        length += more.length;
        return this;
    }

    /** Write ASCII as it is. */
    @SuppressWarnings("deprecation")
    Out raw(String ascii) {
        int more = ascii.length();
        reserve(more);
        ascii.getBytes(0, more, bytes, length);
        length += more;
        return this;
    }

    /** Write a JSON string, or null. */
    Out string(String text) {
        if (text == null) {
            return raw("null");
        }
        byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
        put('"');
        if (isPlain(encoded)) {
            append(encoded);
        } else {
            escape(encoded);
        }
        return put('"');
    }

    private static boolean isPlain(byte[] encoded) {
        for (byte value : encoded) {
            if (value == '"' || value == '\\' || value >= 0 && value < ' ') {
                return false;
            }
        }
        return true;
    }

    private void escape(byte[] encoded) {
        for (byte value : encoded) {
            if (value == '"' || value == '\\') {
                put('\\').put(value);
            } else if (value >= 0 && value < ' ') {
                raw(String.format("\\u%04x", value));
            } else {
                put(value);
            }
        }
    }

    Out number(long value) {
        return raw(Long.toString(value));
    }

    /** Write bytes as a JSON string. */
    Out base64(byte[] value) {
        return put('"').append(Base64.getEncoder().encode(value)).put('"');
    }

    Out padded(int value, int width) {
        reserve(width);
        for (int index = length + width - 1; index >= length; index--) {
            bytes[index] = (byte) ('0' + value % 10);
            value /= 10;
        }
        length += width;
        return this;
    }
}

/** What `Out` wrote. */
final class In {
    private final byte[] bytes;
    private int at;

    In(byte[] bytes) {
        this.bytes = bytes;
    }

    int take() {
        return bytes[at++] & 0xFF;
    }

    long long64() {
        long value = 0;
        for (int end = at + 8; at < end; at++) {
            value = value << 8 | bytes[at] & 0xFF;
        }
        return value;
    }

    String text() {
        int length = take() << 8 | take();
        if (length == 0xFFFF) {
            return null;
        }
        at += length;
        return new String(bytes, at - length, length, StandardCharsets.UTF_8);
    }
}
