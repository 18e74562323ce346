"""What runs before a test suite: the CI process with its retries and report, and the doctor."""
