#!/usr/bin/env python3
"""Writes charts/kube9/README.md from values.yaml: each key whose comment begins with `# --` becomes a row.

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

The Helm chart of kube9, the flight recorder of a cluster: one pod whose container `recorder` writes Kubernetes Events and changes into SQLite, and whose container `query` answers over `kubectl exec`.

```sh
helm install kube9 charts/kube9 --namespace kube9-system --create-namespace
kubectl exec -it -n kube9-system deploy/kube9 -c query -- kube9-query events list --since=1h
```

[docs/install.md](../../docs/install.md) explains the choices, [docs/operations.md](../../docs/operations.md) the alerts.
Misspelt values are refused (`values.schema.json`).

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
    """Yields the path of every value that is no map, or an empty one."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, path + (key,))
    else:
        yield path


def main():
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    rows = dict(described(text))
    # A described map stands for all below it; the keys of an alert are explained together.
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
            sys.exit("charts/kube9/README.md is not what values.yaml says; run tests/e2e/chart-readme.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        readme.write_text(out)


main()
