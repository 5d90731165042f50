"""The dashboard: one page over the public API, served as it is written, without a build step."""
