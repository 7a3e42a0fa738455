"""Where prices come from: recorded days, the paper market's clock, last prices in Redis."""
