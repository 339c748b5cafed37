//! balancer-core
