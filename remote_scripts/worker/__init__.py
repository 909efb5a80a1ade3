"""The runtime shared by all workloads on the GPU machine: spool, events, resident daemon, fronts."""
