"""A package, so that `tests.fixtures` means this one and no other's."""
