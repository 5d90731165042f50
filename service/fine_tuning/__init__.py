"""The room for fine-tuning jobs in OpenAI's shapes. Nothing is served from here yet."""
