"""What is written from the plan and the models: files that others read, committed and held against their source."""
