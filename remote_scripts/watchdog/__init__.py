"""Ends the machine that it runs on: at a deadline, or when nothing was done for long."""
