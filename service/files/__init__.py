"""Files in OpenAI's shapes: training data that was uploaded, and what fine-tuning jobs left."""
