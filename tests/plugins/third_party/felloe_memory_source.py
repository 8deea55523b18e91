"""Projects that are in no index: a stranger's source, with nothing from felloe but `felloe.plugin`."""

import hashlib
import io
import zipfile

from felloe.plugin import CacheKey, Claim, Dist, Fetched, Fresh, Level, ProjectNotFound, Stale, hookimpl

RELEASES = {("memory-box", "1.0"): "zlib-ng>=0.5", ("memory-box", "1.1"): "zlib-ng>=0.6"}


def wheel_of(name, version):
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: {RELEASES[name, version]}\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        path = f"{name.replace('-', '_')}-{version}.dist-info/METADATA"
        archive.writestr(zipfile.ZipInfo(path), metadata)
    return file.getvalue()


class MemorySource:
    api = 1
    default = True

    def __init__(self, name, settings):
        self.name = name

    @hookimpl
    def claims(self, request):
        is_mine = (request.name or "").startswith("memory-")
        return Claim(level=Level.NAMESPACE, reason="it remembers") if is_mine else None

    @hookimpl
    def address(self):
        return ""

    @hookimpl
    async def find(self, request, ctx):
        if found := [self.dist(*release) for release in RELEASES if release[0] == request.name]:
            return found
        raise ProjectNotFound(f"`{self.name}` does not remember `{request.name}`")

    def dist(self, name, version):
        filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        hashes = {"sha256": hashlib.sha256(wheel_of(name, version)).hexdigest()}
        return Dist(source=self.name, kind="wheel", name=name, version=version, filename=filename, hashes=hashes)

    @hookimpl
    def cache_key(self, dist):
        return CacheKey(parts=(dist.filename,))

    @hookimpl
    async def check_freshness(self, dist, entry, ctx):
        return Fresh() if entry.digests == dist.hashes else Stale(code="rewritten", evidence="its bytes are others")

    @hookimpl
    async def fetch(self, dist, ctx):
        path = ctx.scratch / dist.filename
        path.write_bytes(wheel_of(dist.name, dist.version))
        return Fetched(path=path)
