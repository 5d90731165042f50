"""Trajectories: the losses of a whole dataset while a proxy is fine-tuned on it, shared by the runs that need them."""
