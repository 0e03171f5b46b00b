"""The application as it is built: what its real modules respond, with every mistake that is in them.

The tests hold each response that was recorded from the real modules against this one (tests/demo/recorded.json).
"""
