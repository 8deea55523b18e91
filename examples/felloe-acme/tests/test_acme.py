import pytest
from felloe_acme import Acme
from server import AcmeServer

from felloe.testing import Project, SourceContract, make_wheel


class TestAcme(SourceContract):
    lists_many, secrets = True, ["s3cr3t", "t0k3n"]

    @pytest.fixture(autouse=True)
    def server(self, tmp_path):
        with AcmeServer("s3cr3t", uses=2) as self.acme:
            self.folder = tmp_path
            for version in ("1.0", "1.1"):
                self.acme.add(make_wheel(tmp_path, Project("acme-app", version)))
            yield

    def source(self):
        return Acme("acme", {"url": self.acme.url, "secret": "s3cr3t", "projects": ["acme-*"]})

    def known_request(self):
        return "acme-app"

    def unknown_request(self):
        return "acme-nowhere"

    def mutate(self):
        self.acme.add(make_wheel(self.folder, Project("acme-app", "1.2")))
