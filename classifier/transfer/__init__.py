"""Pre-trained networks, a file each, and how they are fine-tuned; for the finetune stages."""
