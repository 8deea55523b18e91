"""Acme's index (kind `acme`). Settings: `url`, `secret` (or ACME_SECRET), `projects` (names asked here alone)."""

import json
import os
from fnmatch import fnmatchcase

from felloe import plugin

SETTINGS = {"url": str | plugin.Url, "secret": str, "projects": list}


class Acme:
    api = 1

    def __init__(self, name: str, settings: dict[str, plugin.Json]) -> None:
        given = {"secret": os.environ.get("ACME_SECRET"), "projects": [], **settings}
        if wrong := [key for key in SETTINGS | given if not isinstance(given.get(key), SETTINGS.get(key, ()))]:
            raise plugin.ConfigError(f"`{wrong[0]}` is missing, no such setting, or of the wrong type", key=wrong[0])
        self.name, self.projects = name, [p.lower().replace("_", "-").replace(".", "-") for p in given["projects"]]
        self.url, self.secret = plugin.Url(given["url"]).as_directory(), {"authorization": f"Secret {given['secret']}"}
        self.login = plugin.Login(url=self.url, headers=self.token, hint="correct `secret`, or ACME_SECRET")

    async def token(self, ctx: plugin.Context) -> dict[str, str]:
        answer = await ctx.http.read(self.url.join("token"), max_bytes=10_000, headers=self.secret)
        return {"authorization": f"Bearer {json.loads(answer or '{}')['token']}"}

    @plugin.hookimpl
    def claims(self, request: plugin.Request) -> plugin.Claim | None:
        is_bare, patterns = request.url is None and request.path is None, self.projects or ["*"]
        is_ours = is_bare and any(fnmatchcase(request.name or "", pattern) for pattern in patterns)
        level = plugin.Level.NAMESPACE if self.projects else plugin.Level.FALLBACK
        return plugin.Claim(level=level, reason=f"its projects are {', '.join(patterns)}") if is_ours else None

    @plugin.hookimpl
    def address(self) -> str:
        return str(self.url)

    @plugin.hookimpl
    async def find(self, request: plugin.Request, ctx: plugin.Context) -> list[plugin.Dist]:
        page = await ctx.http.get(self.url.join(f"packages/{request.name}"), headers=self.login)
        if page.status != 200:
            raise plugin.ProjectNotFound(f"`{self.name}` does not know `{request.name}`")
        return [self.dist(request.name, page.url.join(file["url"]), file) for file in json.loads(page.body)["files"]]

    def dist(self, name: str | None, url: plugin.Url, file: dict[str, plugin.Json]) -> plugin.Dist:
        told = {key: file[key] for key in ("filename", "kind", "version", "size", "requires_python", "upload_time")}
        return plugin.Dist(source=self.name, name=name, hashes={"sha256": file["sha256"]}, locator={"url": url}, **told)

    @plugin.hookimpl
    def cache_key(self, dist: plugin.Dist) -> plugin.CacheKey:
        return plugin.CacheKey(parts=(plugin.key_part(dist.filename),))

    @plugin.hookimpl
    async def check_freshness(self, dist: plugin.Dist, entry: plugin.Entry) -> plugin.Fresh | plugin.Stale:
        is_same = entry.digests.get("sha256") == dist.hashes["sha256"]
        return plugin.Fresh() if is_same else plugin.Stale(code="hash-changed", evidence=dist.hashes["sha256"])

    @plugin.hookimpl
    async def fetch(self, dist: plugin.Dist, ctx: plugin.Context) -> plugin.Fetched:
        return await ctx.download(dist.locator["url"], dist.filename, dist.hashes, headers=self.login)
