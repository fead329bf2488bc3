"""A small verifiable task, a ladder of models trained on it, and what they answer: the evidence for a scaling law."""
