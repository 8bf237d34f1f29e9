"""One script a peer; each runs job A in a process of its own and prints one line of JSON."""
