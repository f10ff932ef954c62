"""The shelf of outside sources: one file, one source; the only place that opens market data."""
