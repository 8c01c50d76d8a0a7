"""Verbs on work: which queue, which agent, and why; who owns it, and until when an answer is due."""
