"""Students, augmentation, the trainer: from an ImageSet and a Protocol to last-epoch test numbers."""
