"""What a person or a program reads of a load run, from its report alone. One public file with `write` is one format.

Nothing here imports Locust, so that the command and the tests may write reports in their own process.
"""
