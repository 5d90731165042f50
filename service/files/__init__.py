"""The room for uploaded files in OpenAI's shapes. Nothing is served from here yet."""
