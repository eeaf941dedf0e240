"""Many runs with one command: planned, trained and evaluated by worker processes, put into one table."""
