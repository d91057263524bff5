"""Turn what mail and SMS providers report into the status of each message and delivery, each report exactly once."""
