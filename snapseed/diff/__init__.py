"""Which rows and columns differ between a database and its snapshot."""
