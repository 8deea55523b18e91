"""What version control says of a project's folder, as far as versions are made of it."""

from __future__ import annotations
