"""What a response must be: conditions, patterns, status, templates and dialogues."""
