"""What people look at: the page, its charts and its galleries; for the stage evaluate."""
