"""How often checkpoints answer right: samples drawn where they tell most, counts that survive."""
