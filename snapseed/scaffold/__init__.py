"""A first project from the schema of a database: catalog facts become a plan, and the plan becomes files."""
