"""Label Studio's side of Winnow: an ML backend for every run and every model, and the webhook for annotations."""
