"""What the Hub of these tests answers to each request, after what huggingface_hub asks of the real one."""

import base64
import hashlib
import json
import re

from .hub_server import Handler, Problem, Repository


class Routes(Handler):
    """One request of huggingface_hub."""

    # --- what there is ------------------------------------------------------------------------------------------------

    def _route(self):
        path = self.path_only
        for pattern, name in ROUTES:
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                return getattr(self, name)(**found.groupdict())
        raise Problem(404, f"no such route: {self.command} {path}")

    def _json(self, content, status=200):
        return status, {"Content-Type": "application/json"}, json.dumps(content).encode()

    def _user(self):
        header = self.headers.get("Authorization")
        if header is None:
            return None
        user = self.hub.tokens.get(header.removeprefix("Bearer "))
        if user is None:
            raise Problem(401, "Invalid credentials in Authorization header")
        return user

    def _owns(self, name):
        user = self._user()
        return user is not None and name.split("/")[0] in (user["name"], *user["orgs"])

    def _repository(self, name, write=False):
        repository = self.hub.repositories.get(name)
        owns = self._owns(name)
        if repository is None or (repository.private and not owns):
            raise Problem(404 if self._user() else 401, "Repository not found", "RepoNotFound")
        if write and (not owns or self._user()["role"] != "write"):
            raise Problem(403, "Forbidden: you must have write access")
        return repository

    def _commit_of(self, repository, revision):
        sha = repository.resolve(revision)
        if sha is None:
            raise Problem(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha

    def whoami(self):
        user = self._user()
        if user is None:
            raise Problem(401, "Invalid username or password.")
        organizations = [{"name": name} for name in user["orgs"]]
        token = {"accessToken": {"role": user["role"]}}
        return self._json({"type": "user", "name": user["name"], "orgs": organizations, "auth": token})

    def validate(self):
        return self._json({"warnings": [], "errors": []})

    def create(self):
        asked, user = json.loads(self.body), self._user()
        if user is None:
            raise Problem(401, "Invalid username or password.")
        name = f"{asked.get('organization') or user['name']}/{asked['name']}"
        if not self._owns(name) or user["role"] != "write":
            raise Problem(403, f"You don't have the rights to create a model under the namespace {name}")
        if name in self.hub.repositories:
            raise Problem(409, "You already created this model repo")
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.repositories[name] = Repository(bool(private))
        return self._json({"url": f"{self.hub.url}/{name}"})

    def info(self, repo, revision="main"):
        repository = self._repository(repo)
        sha = self._commit_of(repository, revision)
        siblings = [{"rfilename": name, **metadata(name, c)} for name, c in sorted(repository.commits[sha].items())]
        return self._json({"id": repo, "sha": sha, "private": repository.private, "siblings": siblings, "tags": []})

    def tree(self, repo, revision):
        repository = self._repository(repo)
        files = repository.commits[self._commit_of(repository, revision)]
        entries = []
        for name, content in sorted(files.items()):
            entry = metadata(name, content)
            entries.append({"type": "file", "path": name, **entry, "oid": entry["blobId"]})
            if "lfs" in entry:
                entries[-1]["lfs"]["oid"] = entry["lfs"]["sha256"]
        return self._json(entries)

    def list_refs(self, repo):
        refs = [{"name": ref, "ref": ref, "targetCommit": sha} for ref, sha in self._repository(repo).refs.items()]
        proposed = [ref for ref in refs if ref["ref"].startswith("refs/pr/")]
        return self._json({"branches": [], "converts": [], "tags": [], "pullRequests": proposed})

    def branch(self, repo, branch):
        repository = self._repository(repo, write=True)
        if branch in repository.refs:
            raise Problem(409, "Reference already exists")
        repository.refs[branch] = repository.refs["main"]
        return self._json({}, 201)

    # --- uploads ------------------------------------------------------------------------------------------------------

    def preupload(self, repo, revision):
        self._commit_of(self._repository(repo, write="create_pr" not in self.path), revision)
        files = json.loads(self.body)["files"]
        modes = [{"path": f["path"], "uploadMode": "lfs" if is_large(f["path"]) else "regular"} for f in files]
        return self._json({"files": [{**mode, "shouldIgnore": False} for mode in modes]})

    def batch(self, repo):
        self._repository(repo)  # who may only propose uploads too
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            entry = {"oid": oid, "size": size}
            if oid not in self.hub.objects:
                upload = {"href": f"{self.hub.url}/lfs/{oid}"}
                if self.hub.chunk_size:
                    count = -(-size // self.hub.chunk_size)
                    urls = {f"{i + 1:05d}": f"{self.hub.url}/lfs/{oid}/{i + 1:05d}" for i in range(count)}
                    upload["header"] = {"chunk_size": str(self.hub.chunk_size), **urls}
                entry["actions"] = {"upload": upload}
            objects.append(entry)
        return self._json({"transfer": "basic", "objects": objects})

    def put(self, oid, part=None):
        if part is not None:
            self.hub.parts.setdefault(oid, {})[part] = self.body
            return 200, {"ETag": f'"{part}"'}, b""
        self._keep(oid, self.body)
        return self._json({})

    def complete(self, oid):
        parts = self.hub.parts[oid]  # two files of the same content are completed twice
        self._keep(oid, b"".join(parts[name] for name in sorted(parts)))
        return self._json({})

    def _keep(self, oid, content):
        if hashlib.sha256(content).hexdigest() != oid:
            raise Problem(400, "the content is not what its hash says")
        self.hub.objects[oid] = content

    def commit(self, repo, revision):
        repository = self._repository(repo, write="create_pr" not in self.path)
        parent = self._commit_of(repository, revision)
        files = dict(repository.commits[parent])
        for line in map(json.loads, self.body.splitlines()):
            key, value = line["key"], line["value"]
            if key == "header" and value.get("parentCommit") not in (None, parent):
                raise Problem(412, "A commit has happened since. Please refresh and try again.")
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        proposed = f"refs/pr/{len(repository.commits)}" if "create_pr" in self.path else None
        sha = repository.commit(proposed or revision, files)
        url = f"{self.hub.url}/{repo}"
        answer = {"success": True, "commitOid": sha, "commitUrl": f"{url}/commit/{sha}"}
        if proposed:
            answer["pullRequestUrl"] = f"{url}/discussions/{proposed.rsplit('/', 1)[-1]}"
        return self._json(answer)

    # --- downloads ----------------------------------------------------------------------------------------------------

    def download(self, repo, revision, name):
        repository = self._repository(repo)
        sha = self._commit_of(repository, revision)
        content = repository.commits[sha].get(name)
        if content is None:
            raise Problem(404, "Entry not found", "EntryNotFound")
        etag = hashlib.sha256(content).hexdigest() if is_large(name) else git_hash(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": sha, "Content-Length": str(len(content))}
        return 200, headers, content


def is_large(name):
    """Whether the Hub keeps a file by its hash."""
    return name.endswith((".safetensors", ".png"))


def metadata(name, content):
    """What the Hub tells of a file, as `files_metadata=True` asks for."""
    found = {"size": len(content), "blobId": git_hash(content)}
    if is_large(name):
        found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return found


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


REPO = r"(?P<repo>[^/]+/[^/]+)"
REVISION = r"(?P<revision>refs/pr/\d+|[^/]+)"
ROUTES = [
    ("GET /api/whoami-v2", "whoami"),
    ("POST /api/validate-yaml", "validate"),
    ("POST /api/repos/create", "create"),
    (rf"GET /api/models/{REPO}", "info"),
    (rf"GET /api/models/{REPO}/revision/(?P<revision>.+)", "info"),
    (rf"GET /api/models/{REPO}/tree/(?P<revision>.+)", "tree"),
    (rf"GET /api/models/{REPO}/refs", "list_refs"),
    (rf"POST /api/models/{REPO}/branch/(?P<branch>.+)", "branch"),
    (rf"POST /api/models/{REPO}/preupload/(?P<revision>.+)", "preupload"),
    (rf"POST /api/models/{REPO}/commit/(?P<revision>.+)", "commit"),
    (rf"POST /{REPO}\.git/info/lfs/objects/batch", "batch"),
    (r"PUT /lfs/(?P<oid>\w{64})(?:/(?P<part>\d+))?", "put"),
    (r"POST /lfs/(?P<oid>\w{64})", "complete"),
    (rf"(?:GET|HEAD) /{REPO}/resolve/{REVISION}/(?P<name>.+)", "download"),
]
