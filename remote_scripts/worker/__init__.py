"""The runtime shared by all workloads on the GPU machine: job spool, daemon, engine, fronts."""
