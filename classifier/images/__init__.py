"""From an archive to checked, decoded, divided pictures; for the stage split."""
