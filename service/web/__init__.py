"""The room for the dashboard. Nothing is served from here yet."""
