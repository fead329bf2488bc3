"""Train-to-Test scaling laws: pass@k estimators, one law per file, one fitting procedure."""
