"""Local doubles of the outside world, for the demo and the tests; nothing a real desk runs on."""
