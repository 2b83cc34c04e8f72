"""`python -m crab_cli` is `crab`."""

from crab_cli.app import main

main()
