"""How long books stand still when their ingestor goes."""
