"""The private index of a company that keeps a password: what an author of a plugin writes, and all of it."""

import os
from urllib.parse import quote

from felloe_pypi import SimpleIndex


class Acme(SimpleIndex):
    default = True

    def __init__(self, name, settings):
        scheme, rest = os.environ["ACME_INDEX"].split("://")
        login = f"reader:{quote(os.environ['ACME_PASSWORD'], safe='')}"
        super().__init__(name, {"url": f"{scheme}://{login}@{rest}", "projects": ["acme-*"]})
