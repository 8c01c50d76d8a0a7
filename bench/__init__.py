"""Speed, stated as a ratio against a named baseline that ran in the same minutes on the same machine."""
