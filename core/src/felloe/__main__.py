"""`python -m felloe`."""

from felloe.cli import main

main()
