"""The API server: requests under any client's name, and every state of every object as the watches show it."""

import base64
import http.client
import json
import ssl
import tempfile
import threading
import time
import urllib.parse

import yaml

OWN = "kube9-e2e"  # what this script's reads call themselves


class Refused(Exception):
    """The API server answered with an error."""

    def __init__(self, status, document):
        super().__init__(f"{status}: {document.get('message', document)}")
        self.status, self.document = status, document


class Api:
    """A client; each thread has a connection of its own."""

    def __init__(self, kubeconfig):
        with open(kubeconfig) as file:
            config = yaml.safe_load(file)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host, self.port = cluster["server"].removeprefix("https://").split(":")

        def pem(holder, name):
            if name in holder:
                with open(holder[name]) as file:
                    return file.read()
            return base64.b64decode(holder[f"{name}-data"]).decode()

        self.tls = ssl.create_default_context(cadata=pem(cluster, "certificate-authority"))
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
            pair.write(pem(user, "client-certificate") + pem(user, "client-key"))
            pair.flush()
            self.tls.load_cert_chain(pair.name)
        self.local = threading.local()

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(self.host, int(self.port), context=self.tls, timeout=timeout)

    def send(self, method, path, body=None, kind="application/json", agent=OWN, **query):
        """Status and document. `agent` None: the request has no User-Agent."""
        url = path + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = {"Accept": "application/json"}
        if agent is not None:
            headers["User-Agent"] = agent
        if body is not None:
            headers["Content-Type"] = kind
            body = body if isinstance(body, str) else json.dumps(body)
        for again in (False, True):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = self.local.connection = self.connect()
            try:
                connection.request(method, url, body, headers)
                answer = connection.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                self.local.connection = None
                # A write is not repeated: it is unknown whether the first one was done.
                if again or method != "GET":
                    raise
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, {"message": text.decode(errors="replace").strip()}

    def done(self, *arguments, **options):
        status, document = self.send(*arguments, **options)
        if status >= 300:
            raise Refused(status, document)
        return document

    def get(self, path):
        """The object, or None."""
        status, document = self.send("GET", path)
        if status == 404:
            return None
        if status >= 300:
            raise Refused(status, document)
        return document

    def list(self, path, **query):
        """All items and the version of the list."""
        items, following = [], {}
        while True:
            page = self.done("GET", path, limit=500, **query, **following)
            items += page["items"]
            if not page["metadata"].get("continue"):
                return items, int(page["metadata"]["resourceVersion"])
            following, query = {"continue": page["metadata"]["continue"]}, {}

    def at(self, path, name, version):
        """The object of a list as it was at a version, or None; KeyError if the version is compacted."""
        status, document = self.send(
            "GET", path, fieldSelector=f"metadata.name={name}", resourceVersionMatch="Exact", resourceVersion=version
        )
        if status == 410:
            raise KeyError(version)
        if status >= 300:
            raise Refused(status, document)
        return document["items"][0] if document["items"] else None


class Resource:
    """A kind of the API, as URLs name it."""

    def __init__(self, group, version, plural, kind, namespaced):
        self.group, self.version, self.plural, self.kind, self.namespaced = group, version, plural, kind, namespaced
        self.base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        self.api_version = f"{group}/{version}" if group else version

    def path(self, namespace="", name=""):
        where = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.base}{where}/{self.plural}" + (f"/{name}" if name else "")

    def __repr__(self):
        return self.plural


def version_of(found):
    return int(found["metadata"]["resourceVersion"])


class Watcher(threading.Thread):
    """Every state of every object of a kind since the start.

    A watch gives each of them. After an interruption that the API server cannot resume (410), the objects are listed, and
    what they were in between is read with exact lists, back to the last state that is known.
    """

    def __init__(self, api, resource):
        super().__init__(daemon=True)
        self.api, self.resource = api, resource
        self.states = []  # (version, type, object, received, how)
        self.now = {}  # (namespace, name) to object
        self.position = None
        self.accepted = 0.0  # when the last watch was; one that then gets 410 as well
        self.walked = self.lost = 0
        self.ended = threading.Event()
        self.lock = threading.Lock()

    def run(self):
        while not self.ended.is_set():
            try:
                if self.position is None:
                    self.list()
                self.watch()
            except (OSError, http.client.HTTPException, Refused, ValueError):
                self.ended.wait(0.2)

    def add(self, kind, found, how):
        key = found["metadata"].get("namespace", ""), found["metadata"]["name"]
        with self.lock:
            self.states.append((version_of(found), kind, found, time.time(), how))
            if kind == "DELETED":
                self.now.pop(key, None)
            else:
                self.now[key] = found

    def list(self):
        items, position = self.api.list(self.resource.path())
        fresh = {(one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in items}
        if not self.states and not self.now:
            for one in items:
                self.add("LISTED", one, "list")
        else:
            for key, one in fresh.items():
                known = self.now.get(key)
                if known is None or version_of(known) != version_of(one):
                    self.walk(known, one)
            for key in [key for key in self.now if key not in fresh]:
                self.walk_deleted(self.now[key], position)
        self.position = position

    def before(self, found):
        """The state before this one."""
        meta = found["metadata"]
        return self.api.at(self.resource.path(meta.get("namespace", "")), meta["name"], version_of(found) - 1)

    def walk(self, known, last):
        """What happened to an object between the state that is known and the last one."""
        chain = [last]
        try:
            while (older := self.before(chain[0])) and not (known and version_of(older) == version_of(known)):
                chain.insert(0, older)
                self.walked += 1
        except KeyError:
            self.lost += 1
        is_new = known is None or known["metadata"]["uid"] != last["metadata"]["uid"]
        if known and is_new:
            self.walk_deleted(known, version_of(chain[0]) - 1)
        for n, one in enumerate(chain):
            self.add("ADDED" if is_new and n == 0 else "MODIFIED", one, "walk")

    def walk_deleted(self, known, position):
        meta = known["metadata"]
        low, high, last = version_of(known), position, known
        try:
            while high - low > 1:
                middle = (low + high) // 2
                found = self.api.at(self.resource.path(meta.get("namespace", "")), meta["name"], middle)
                if found is None or found["metadata"]["uid"] != meta["uid"]:
                    high = middle
                else:
                    low, last = middle, found
            if version_of(last) != version_of(known):
                self.walk(known, last)
        except KeyError:
            self.lost += 1
        with self.lock:
            self.states.append((high, "DELETED", last, time.time(), "walk"))
            self.now.pop(key_of(known), None)

    def watch(self):
        connection = self.api.connect(timeout=120)
        try:
            query = urllib.parse.urlencode(
                {"watch": "1", "resourceVersion": self.position, "allowWatchBookmarks": "true", "timeoutSeconds": 1800}
            )
            connection.request("GET", f"{self.resource.path()}?{query}", headers={"User-Agent": OWN, "Accept": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                if answer.status in (404, 410):
                    self.position = None
                raise Refused(answer.status, {"message": answer.read().decode(errors="replace")})
            self.accepted = time.time()
            while line := answer.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self.position = None
                    return
                self.position = version_of(event["object"])
                if event["type"] != "BOOKMARK":
                    self.add(event["type"], event["object"], "watch")
        finally:
            connection.close()


def key_of(found):
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]
