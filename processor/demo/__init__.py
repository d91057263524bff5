"""For the demo and the tests: an embedded broker, simulated traffic, an alert receiver."""
