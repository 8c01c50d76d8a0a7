"""Stories that the hub has to be able to tell."""
