"""What the demo and the tests need beside the product: an embedded broker, simulated traffic, an alert receiver."""
