"""The smoke gate after a deployment: wait for the right release, judge it round by round, and say what is proven."""
