"""From wherever pictures come to one archive and its labels; for the stage download."""
