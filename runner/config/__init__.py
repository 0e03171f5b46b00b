"""The language of checks.yaml: from a file, with its positions, to the Plan that everybody else reads."""
