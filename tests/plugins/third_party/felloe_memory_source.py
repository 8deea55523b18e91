"""Projects that are in no index: a stranger's source, with nothing from felloe but `felloe.plugin`."""

import hashlib
import io
import zipfile

from felloe.plugin import CacheKey, Claim, Dist, Fetched, Fresh, Level, ProjectNotFound, RawMetadata, Stale, hookimpl

RELEASES = {("memory-box", "1.0"): ["zlib-ng>=0.5"], ("memory-box", "1.1"): ["zlib-ng>=0.6"]}


def metadata_of(name, version):
    requirements = "".join(f"Requires-Dist: {text}\n" for text in RELEASES[name, version])
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirements}".encode()


def wheel_of(name, version):
    folder, file = f"{name.replace('-', '_')}-{version}.dist-info", io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{folder}/METADATA"), metadata_of(name, version))
        archive.writestr(zipfile.ZipInfo(f"{folder}/WHEEL"), "Wheel-Version: 1.0\nTag: py3-none-any\n")
    return file.getvalue()


class MemorySource:
    api = 1
    default = True

    def __init__(self, name, settings):
        self.name = name

    @hookimpl
    def claims(self, request):
        return Claim(Level.NAMESPACE, "it remembers") if (request.name or "").startswith("memory-") else None

    @hookimpl
    def address(self):
        return ""

    @hookimpl
    async def find(self, request, ctx):
        found = [self.dist(*release) for release in RELEASES if release[0] == request.name]
        if not found:
            raise ProjectNotFound(f"`{self.name}` does not remember `{request.name}`")
        return found

    def dist(self, name, version):
        filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        sha256 = hashlib.sha256(wheel_of(name, version)).hexdigest()
        hashes = {"sha256": sha256}
        return Dist(source=self.name, kind="wheel", name=name, version=version, filename=filename, hashes=hashes)

    @hookimpl
    def cache_key(self, dist):
        return CacheKey(parts=(dist.filename,))

    @hookimpl
    async def check_freshness(self, dist, entry, ctx):
        return Fresh() if entry.digests == dist.hashes else Stale(code="rewritten", evidence="its bytes are others")

    @hookimpl
    async def metadata(self, dist, ctx):
        return RawMetadata(bytes=metadata_of(dist.name, dist.version), rung="sidecar")

    @hookimpl
    async def fetch(self, dist, ctx):
        path = ctx.scratch / dist.filename
        path.write_bytes(wheel_of(dist.name, dist.version))
        return Fetched(path=path)
