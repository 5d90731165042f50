"""Rows and what their scores mean, as labelling platforms take them: Label Studio's tasks, Argilla's records."""
