"""The `crab` command."""


def main() -> None:
    """Run the command line."""
