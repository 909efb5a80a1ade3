"""The same pretended model for both ways of making a picture."""
