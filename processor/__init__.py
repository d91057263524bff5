"""Turn raw mail and SMS provider events into the true status of every message and delivery, exactly once."""
