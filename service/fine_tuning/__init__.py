"""Fine-tuning jobs in OpenAI's shapes: what the stock `openai` client creates, follows and cancels."""
