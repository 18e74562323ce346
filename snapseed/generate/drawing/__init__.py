"""What `Rows` draws with, one kind of draw in each module; every result comes from whole numbers alone."""
