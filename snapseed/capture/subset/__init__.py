"""A subset: some rows, all they refer to and what belongs to them, chosen by their keys on this side."""
