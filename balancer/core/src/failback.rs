//! Slow rebalancing.
