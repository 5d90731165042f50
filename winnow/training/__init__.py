"""Fine-tuning and checkpoints, run as a subprocess. The room is empty until trajectories and fine-tuning jobs need it."""
