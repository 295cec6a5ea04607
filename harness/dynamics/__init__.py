"""Training dynamics: one training of a scoring model on the whole training split, recorded once for all selectors by score."""
