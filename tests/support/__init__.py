"""What several test files share: small data and runs, fakes, and programs that tests run as processes."""
