"""The room for the machine-learning backend that Label Studio connects to. Nothing is served from here yet."""
