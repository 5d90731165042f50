"""Fine-tuning and checkpoints, run as a subprocess. Empty until trajectories and fine-tuning jobs need it."""
