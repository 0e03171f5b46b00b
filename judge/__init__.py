"""What observations mean, counted exactly: pure functions of records, without time, files or network of their own."""
