"""From wheels to an environment that a build may use: read, unpacked and byte-compiled once, installed once, copied."""
