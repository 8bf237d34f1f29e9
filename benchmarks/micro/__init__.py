"""What the parts of a sweep cost, each beside its floor."""
