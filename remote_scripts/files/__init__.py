"""Listing, receiving and sending of file trees on the machine."""
