"""What stands in front of a test suite: the CI process with its retries and report, and the doctor."""
