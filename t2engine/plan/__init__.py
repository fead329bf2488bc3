"""The planner: which N, D and k a budget should buy."""
