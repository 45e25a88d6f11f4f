//! fixture-node: one small node with a fixed set of processes
