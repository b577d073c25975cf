#!/usr/bin/env python3
"""Writes charts/kube9/README.md from values.yaml: one row for each key with a comment that begins with `# --`.

chart-readme.py          writes the file
chart-readme.py --check  exits 1 if the file is not what would be written, or a value has no description
"""
import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parents[2] / "charts" / "kube9"

HEAD = """# kube9

The Helm chart of kube9, a flight recorder for Kubernetes clusters.
It installs one pod: the container `recorder` writes Kubernetes Events and changes to SQLite, and the container `query` reads them over `kubectl exec`.

No release is published yet: [build the images](../../docs/install.md#requirements) first, and name their registry.

```sh
helm install kube9 charts/kube9 --namespace kube9-system --create-namespace --wait \\
  --set recorder.image.registry=REGISTRY,recorder.image.repository=kube9-recorder \\
  --set query.image.registry=REGISTRY,query.image.repository=kube9-query
kubectl exec -it -n kube9-system deploy/kube9 -c query -- kube9-query events list --since=1h
```

[docs/install.md](../../docs/install.md) explains the options, [docs/operations.md](../../docs/operations.md) has the runbooks of the alerts.
Unknown values are rejected (`values.schema.json`).

## Values

| Key | Default | Meaning |
|---|---|---|
"""


def described(text):
    """Yields (path, description) of every key that follows a `# --` comment."""
    stack = []  # (indentation, key) of the maps around the line
    comment = None
    for line in text.splitlines():
        note = re.match(r"\s*# -- (.*)", line)
        if note:
            comment = note[1]
            continue
        key = re.match(r"( *)([A-Za-z0-9]+):", line)
        if not key:
            comment = None
            continue
        indent = len(key[1])
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, key[2]))
        if comment:
            yield tuple(name for _, name in stack), comment
        comment = None


def leaves(value, path=()):
    """Yields the path of every value that is not a map, or is an empty one."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, path + (key,))
    else:
        yield path


def main():
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    rows = dict(described(text))
    # A description of a map also covers its keys; the keys of an alert are described together.
    missing = [
        ".".join(path)
        for path in leaves(values)
        if not any(path[:n] in rows for n in range(1, len(path) + 1))
        and path[:2] != ("prometheusRule", "alerts")
    ]
    if missing:
        sys.exit("values without a `# --` comment: " + ", ".join(missing))
    out = HEAD
    for path, meaning in rows.items():
        default = values
        for key in path:
            default = default[key]
        shown = json.dumps(default).replace("|", "\\|")
        out += f"| `{'.'.join(path)}` | `{shown}` | {meaning.replace('|', chr(92) + '|')} |\n"
    readme = CHART / "README.md"
    if sys.argv[1:] == ["--check"]:
        if not readme.exists() or readme.read_text() != out:
            sys.exit("charts/kube9/README.md does not match values.yaml: run tests/e2e/chart-readme.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        readme.write_text(out)


main()
