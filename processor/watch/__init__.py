"""What looking through the rows of a partition finds: stuck messages, silent providers, contradictions, durations."""
