"""What every trained model shares, from batches to the saved file; for networks and transfer."""
