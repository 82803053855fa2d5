"""Networks trained from scratch, a file each; for train_baseline and train_augmented."""
