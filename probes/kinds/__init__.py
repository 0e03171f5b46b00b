"""The kinds of check: one file or folder each, named by the word in checks.yaml. `probes.discover` finds them."""
