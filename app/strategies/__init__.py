"""Strategies: pure decisions on bars and ticks. They import the trading rules and nothing else."""
