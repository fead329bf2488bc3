"""What models are trained on and asked: questions with answers to check, one task per file."""
