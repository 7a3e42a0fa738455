"""Orders while processes die, freeze and forget; counted by the exchange's own ledger: `scripts/chaos --help`."""
