import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Follows the changes of status with a consumer group: java Consumer localhost:9092 delivery.messages.v1 my-group
 *
 * <p>Needs kafka-clients and jackson-databind. Offsets are committed after the changes were dealt with, so each is dealt
 * with at least once.
 */
public final class Consumer {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Consumer() {}

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("group.id", arguments[2]);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        // Without it, what a crashed worker wrote and never committed would be read, too.
        properties.put("isolation.level", "read_committed");
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
            consumer.subscribe(List.of(arguments[1]));
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    dealWith(record);
                }
                consumer.commitSync();
            }
        }
    }

    private static void dealWith(ConsumerRecord<byte[], byte[]> record) throws Exception {
        String message = new String(record.key(), StandardCharsets.UTF_8);
        if (record.value() == null) {
            System.out.println(message + " forgotten");
            return;
        }
        JsonNode row = JSON.readTree(record.value());
        if (row.has("moved_to")) {
            System.out.println(message + " moved to " + row.get("moved_to").asText());
        } else if (row.has("previous")) {
            // Without `previous` the row has changed, and its status has not.
            String before = row.get("previous").isNull() ? "new" : row.get("previous").get("status").asText();
            System.out.println(message + " " + before + " -> " + row.get("status").asText() + " " + row.get("since").asText());
        }
    }
}
