"""Use-cases: one public class a file. They join the trading rules with repositories and brokers."""
