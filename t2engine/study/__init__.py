"""A verifiable task, a ladder of models trained on it, and how often they answer right."""
