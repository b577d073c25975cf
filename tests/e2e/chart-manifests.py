#!/usr/bin/env python3
"""Checks invariants of the chart's manifests. Exits with 1 and prints those that fail.

invariants FILE       a rendering, whatever its values were
effects DIR           renderings of ci/*-values.yaml: what those values have to change
closed-maps           prints the path of every map of values.yaml that the schema closes
dashboard-rules       prints the dashboard's queries as recording rules, for promtool
metrics FILE...       prints the names of the metrics that rule files read
"""
import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parents[2] / "charts" / "kube9"
ANALYSIS = {("", "pods"), ("", "services"), ("", "configmaps"), ("apps", "deployments"), ("", "nodes")}
TRACKED = yaml.safe_load((CHART / "tracked.yaml").read_text())

faults = []


def must(condition, sentence):
    if not condition:
        faults.append(sentence)


def load(path):
    return [d for d in yaml.safe_load_all(pathlib.Path(path).read_text()) if d]


def of_kind(documents, kind):
    return [d for d in documents if d["kind"] == kind]


def reads(settings):
    """What the recorder reads with these settings, as pairs of group and resource."""
    namespaced = bool(settings.get("kube", {}).get("namespaces"))
    found = {("", "events")}
    if settings.get("analysis", {}).get("enabled", True):
        found |= ANALYSIS - ({("", "nodes")} if namespaced else set())
    changes = settings.get("changes", {})
    if not changes.get("enabled", True):
        return found
    words = changes.get("kinds", [])
    named = {w for w in words if not w.startswith("-")}
    for kind in TRACKED["kinds"]:
        by_default = not namespaced or (kind["namespaced"] and kind["group"] != "rbac.authorization.k8s.io")
        if f"-{kind['resource']}" not in words and (kind["resource"] in named if named else by_default):
            found.add((kind["group"], kind["resource"]))
    for word in changes.get("resources", []):
        for resource in TRACKED["presets"].get(word, [word]):
            found.add((resource.split("/")[0], resource.split("/")[2]))
    return found


def is_rights_of_recorder(role):
    return not role["metadata"]["name"].endswith(("-reader", "-status"))


def matches_pods_of(deployment, policy):
    """Whether the policy matches the names that Kubernetes gives the Deployment's pods, and no others."""
    expression = next(c["expression"] for c in policy["spec"]["matchConditions"] if c["name"] == "pod-of-this-release")
    pattern = re.fullmatch(r"request\.name\.matches\(r'(.*)'\)", expression)[1]

    def pod(owner):  # names.SimpleNameGenerator cuts at 58 characters
        return f"{owner}-"[:58] + "x7k2m"

    own = [pod(f"{deployment}-{hash}") for hash in ("7d9f8b6c54", "98dbf5cbc", "b")]
    others = [pod(deployment), pod(f"{deployment}-node"), pod(f"{deployment}-x-7d9f8b6c54"), f"{deployment}-check",
              f"x{own[0]}", f"{own[0]}x", f"{own[0]}-0", own[0].replace("-x7k2m", "-x7k2a"), f"{deployment}-0"]
    if len(deployment) > 46:  # truncated names cannot be distinguished
        others = [name for name in others if len(name) <= 58 or name[0] == "x"]
    return all(re.search(pattern, name) for name in own) and not any(re.search(pattern, name) for name in others)


def invariants(path):
    documents = load(path)
    names = [(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in documents]
    must(len(names) == len(set(names)), f"an object is there twice: {names}")

    deployment, = of_kind(documents, "Deployment")
    must(not [k for k in ("StatefulSet", "DaemonSet", "Job", "CronJob") if of_kind(documents, k)], "more than one workload")
    spec = deployment["spec"]
    must(spec["replicas"] == 1 and spec["strategy"] == {"type": "Recreate"}, "not one pod, or not Recreate")
    selector = spec["selector"]["matchLabels"]
    must(set(selector) == {"app.kubernetes.io/instance", "app.kubernetes.io/component"}, f"selector {selector}")
    for service in of_kind(documents, "Service"):
        must(service["spec"]["selector"] == selector, "Service selects otherwise than the Deployment")
    template = spec["template"]
    must(selector.items() <= template["metadata"]["labels"].items(), "the Deployment does not select its pod")

    pod = template["spec"]
    must(pod["automountServiceAccountToken"] is False, "the token is mounted automatically")
    must(pod["shareProcessNamespace"] is False, "containers share a process namespace")
    must(not any(pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC")), "host namespaces")
    must([c["name"] for c in pod["containers"]][0] == "recorder" and len(pod["containers"]) == 2, "not the two containers")
    recorder, query = pod["containers"]
    must(template["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == query["name"], "default container")
    must(query["command"] == ["/kube9-query"] and query["args"][0] == "pause", "command of the query container")
    must(recorder["command"] == ["/kube9-recorder"] and recorder["args"][:2] == ["serve", "--config=/etc/kube9/config.yaml"],
         "command of the recorder")

    contexts = [c["securityContext"] for c in (recorder, query)]
    for name, context in zip(("recorder", query["name"]), contexts):
        must(context["readOnlyRootFilesystem"] is True, f"{name}: root file system is writable")
        must(context["allowPrivilegeEscalation"] is False, f"{name}: privilege escalation")
        must(context["runAsNonRoot"] is True and context["runAsUser"] > 0, f"{name}: root")
        must(context["capabilities"] == {"drop": ["ALL"]}, f"{name}: capabilities")
        must(context["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name}: seccomp")
    must(contexts[0]["runAsUser"] != contexts[1]["runAsUser"], "one uid for both containers")
    must(contexts[0]["runAsGroup"] == contexts[1]["runAsGroup"] == pod["securityContext"]["fsGroup"], "not one common group")

    volumes = {v["name"]: v for v in pod["volumes"]}
    tokens = {n for n, v in volumes.items() if any("serviceAccountToken" in s for s in v.get("projected", {}).get("sources", []))}
    mounts = {c["name"]: {m["name"]: m for m in c["volumeMounts"]} for c in (recorder, query)}
    must(len(tokens) == 1 and tokens <= mounts["recorder"].keys(), "the recorder has no token")
    must(not tokens & mounts[query["name"]].keys(), "the query container has a token")
    must(mounts["recorder"]["data"]["mountPath"] == mounts[query["name"]]["data"]["mountPath"] == "/data", "/data")
    must(not mounts["recorder"]["data"].get("readOnly"), "the recorder cannot write")
    must(mounts[query["name"]]["data"].get("readOnly") is True, "the query container can write")
    sources = {k for v in pod["volumes"] for k in v if k != "name"}
    must(not sources & {"hostPath", "secret"}, f"volumes {sources}")
    must(pod["terminationGracePeriodSeconds"] > 20, "grace period shorter than the recorder's own")

    for name, resources in (("recorder", recorder["resources"]), (query["name"], query["resources"])):
        must("ephemeral-storage" in (resources.get("limits") or {"ephemeral-storage": ""}), f"{name}: ephemeral storage")

    config = next(d for d in of_kind(documents, "ConfigMap") if "config.yaml" in d.get("data", {}))
    settings = yaml.safe_load(config["data"]["config.yaml"])
    for role in of_kind(documents, "ClusterRole") + of_kind(documents, "Role"):
        name = role["metadata"]["name"]
        for rule in role["rules"]:
            pairs = {(g, r) for g in rule["apiGroups"] for r in rule["resources"]}
            must(not {"*"} & set(rule["verbs"] + rule["resources"] + rule["apiGroups"]), f"{name}: a wildcard")
            must(not [r for _, r in pairs if "secrets" in r], f"{name}: secrets")
            if is_rights_of_recorder(role):
                must(set(rule["verbs"]) == {"get", "list", "watch"}, f"{name}: {rule}")
            elif name.endswith("-status"):
                must(rule["resourceNames"] == ["kube9-operator-status"] and "create" not in rule["verbs"], f"{name}: {rule}")
            else:
                writes = set(rule["verbs"]) - {"get", "list"}
                must(not writes or (pairs == {("", "pods/exec")} and writes == {"create"}), f"{name}: {rule}")
        if is_rights_of_recorder(role):
            granted = {(g, r) for rule in role["rules"] for g in rule["apiGroups"] for r in rule["resources"]}
            must(granted == reads(settings), f"{name}: {sorted(granted ^ reads(settings))}")
    for binding in of_kind(documents, "ClusterRoleBinding"):
        must([s["name"] for s in binding["subjects"]] == [pod["serviceAccountName"]], "cluster role bound to another account")
    for account in of_kind(documents, "ServiceAccount"):
        must(account["automountServiceAccountToken"] is False, "the account mounts its token")

    for map_ in of_kind(documents, "ConfigMap"):
        if "kube9.json" in map_.get("data", {}):
            original = json.loads((CHART / "dashboards" / "kube9.json").read_text())
            must(json.loads(map_["data"]["kube9.json"]) == original, "the dashboard is not what the file says")

    # The recorder reads addresses and files from the mounted file only, and exits if they are set elsewhere.
    must(not [e for e in recorder["env"] if e["name"].startswith(("KUBE9_DATA", "KUBE9_LISTEN", "KUBE9_CONFIG", "KUBE9_KUBE"))],
         "a setting that must be in the config file is a variable")
    must(mounts["recorder"]["config"]["mountPath"] == "/etc/kube9" and mounts["recorder"]["config"]["readOnly"], "config mount")

    policies = of_kind(documents, "ValidatingAdmissionPolicy")
    bindings = of_kind(documents, "ValidatingAdmissionPolicyBinding")
    must([p["metadata"]["name"] for p in policies] == [b["spec"]["policyName"] for b in bindings], "bindings of the policies")
    must(all(b["spec"]["validationActions"] == ["Deny"] for b in bindings), "a policy that does not deny")
    for policy in policies:
        must(policy["spec"]["failurePolicy"] == "Fail", "a policy that fails open")
        must(matches_pods_of(deployment["metadata"]["name"], policy), f"{policy['metadata']['name']}: pods")

    for policy in of_kind(documents, "NetworkPolicy"):
        for rule in policy["spec"]["egress"]:
            must(rule.get("ports") and (rule.get("to") or rule is not policy["spec"]["egress"][0]), "egress to anywhere")
    must(settings["data_dir"] == "/data", "data_dir")
    for port in recorder["ports"]:
        must(settings["listen"].endswith(f":{port['containerPort']}"), "listens on another port than declared")


def effects(folder):
    def rendering(name):
        return load(pathlib.Path(folder) / f"{name}.yaml")

    def settings(documents):
        return next(yaml.safe_load(d["data"]["config.yaml"]) for d in of_kind(documents, "ConfigMap") if "config.yaml" in d.get("data", {}))

    def volume(documents):
        volumes = of_kind(documents, "Deployment")[0]["spec"]["template"]["spec"]["volumes"]
        return next(v for v in volumes if v["name"] == "data")

    default = rendering("default")
    must(settings(default)["storage"]["max_bytes"] == f"{1024 * 1024 * 60 // 100}Ki", "size cap is not 60 % of 1Gi")
    must(settings(default)["retention"] == {"info_warning": "7d", "error_critical": "30d", "revisions": "30d"}, "retention")
    must("changes" not in settings(default), "settings that are the recorder's defaults")
    granted = {r for d in of_kind(default, "ClusterRole") for rule in d["rules"] for r in rule["resources"]}
    must({"deployments", "ingresses", "clusterroles", "customresourcedefinitions"} <= granted, f"rights {granted}")
    claim, = of_kind(default, "PersistentVolumeClaim")
    must(claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}, "the claim is not retained")
    must("storageClassName" not in claim["spec"], "default storage class")
    service, = of_kind(default, "Service")
    must(service["metadata"]["annotations"]["prometheus.io/port"] == "8080", "scrape annotations")
    must([p["name"] for p in service["spec"]["ports"]] == ["metrics"], "port of the Service")
    must("kube9-reader" in [d["metadata"]["name"] for d in of_kind(default, "Role")], "Role kube9-reader")
    must(not [d for d in default if d["apiVersion"].startswith("monitoring.coreos.com")], "monitoring objects by default")

    exec_, enter = (p["spec"] for p in of_kind(default, "ValidatingAdmissionPolicy"))
    must([r["resources"] for r in exec_["matchConstraints"]["resourceRules"]] == [["pods/exec"]], "policy about exec")
    must([(r["operations"], r["resources"]) for r in enter["matchConstraints"]["resourceRules"]]
         == [(["CONNECT"], ["pods/attach", "pods/portforward"]), (["UPDATE"], ["pods/ephemeralcontainers"])], "policy about the rest")
    must(exec_["validations"][0]["expression"] == "has(object.container) && object.container == 'query'", "container of the policy")
    must(len(exec_["matchConditions"]) == 1, "a group is allowed by default")

    everything = rendering("everything")
    glass = of_kind(everything, "ValidatingAdmissionPolicy")[0]["spec"]["matchConditions"][1]["expression"]
    must(glass == r'''!request.userInfo.groups.exists(group, group in ["sre","odd \"group\"\\"])''', glass)
    kinds = {d["kind"] for d in everything}
    must({"ServiceMonitor", "PrometheusRule", "NetworkPolicy", "RoleBinding"} <= kinds, f"kinds {kinds}")
    must(all(d["metadata"]["labels"].get("team") == "platform" for d in everything if "labels" in d["metadata"]), "commonLabels")
    recorder, query = of_kind(everything, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    must(recorder["image"] == "registry.example.com:5000/infra/kube9-recorder:1.2.3", recorder["image"])
    must(query["image"].startswith("ghcr.io/kube9/kube9-query@sha256:0123"), query["image"])
    must(query["name"] == "ask" and recorder["args"][-1] == "--log-level=debug", "names and arguments")
    must(settings(everything)["storage"]["max_bytes"] == f"{int(2.5 * 1024 * 1024 * 60) // 100}Ki", "size cap of 2.5Gi")
    must(settings(everything)["log"] == {"level": "debug"}, "config is not merged")
    must("annotations" not in of_kind(everything, "PersistentVolumeClaim")[0]["metadata"]
         or "helm.sh/resource-policy" not in of_kind(everything, "PersistentVolumeClaim")[0]["metadata"]["annotations"], "retain=false")
    must("prometheus.io/scrape" not in of_kind(everything, "Service")[0]["metadata"]["annotations"], "scraped twice")
    policy, = of_kind(everything, "NetworkPolicy")
    must({"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "kube9", "app.kubernetes.io/component": "test"}}}
         in policy["spec"]["ingress"][0]["from"], "helm test is locked out by the NetworkPolicy")
    pod = of_kind(everything, "Deployment")[0]["spec"]["template"]["spec"]
    must({"name": "import", "persistentVolumeClaim": {"claimName": "history"}} in pod["volumes"], "import.existingClaim")
    must([[m for m in c["volumeMounts"] if m["name"] == "import"] for c in pod["containers"]]
         == [[{"name": "import", "mountPath": "/data/import"}], []], "only the recorder mounts the claim to import")
    rules = of_kind(everything, "PrometheusRule")[0]["spec"]["groups"][0]["rules"]
    must(rules[-1].get("record") == "kube9:rows:sum", "additionalRules")
    must(next(r for r in rules if r.get("alert") == "Kube9Down")["for"] == "1m", "for of an alert")
    must(all(r["labels"]["team"] == "platform" for r in rules if "alert" in r), "alertLabels")
    must({"kube9-map", "kube9-text"} <= {d["metadata"]["name"] for d in of_kind(everything, "ConfigMap")}, "extraObjects")

    must(settings(everything)["changes"]["resources"] == ["argo", "example.com/v1/widgets"], "changes.resources")
    rights, = (d for d in of_kind(everything, "ClusterRole"))
    granted = {(g, r) for rule in rights["rules"] for g in rule["apiGroups"] for r in rule["resources"]}
    must({("argoproj.io", "rollouts"), ("example.com", "widgets"), ("rbac.authorization.k8s.io", "roles")} <= granted, f"{granted}")
    must(("", "persistentvolumes") not in granted, "rights to a kind that is not tracked")

    namespaced = rendering("namespaced")
    granted = {r for d in of_kind(namespaced, "Role") if is_rights_of_recorder(d) for rule in d["rules"] for r in rule["resources"]}
    must({"certificates", "scaledobjects", "jobs"} <= granted, f"rights {granted}")
    must(not granted & {"nodes", "roles", "rolebindings", "storageclasses"}, f"rights {granted}")
    must(not of_kind(namespaced, "ClusterRole") and not of_kind(namespaced, "ClusterRoleBinding"), "cluster-wide rights")
    rights = [d for d in of_kind(namespaced, "Role") if is_rights_of_recorder(d)]
    must({d["metadata"]["namespace"] for d in rights} == {"default", "kube-system"}, "namespaces of the Roles")
    must(settings(namespaced)["kube"] == {"namespaces": ["default", "kube-system"]}, "namespaces of the config")
    must(volume(namespaced)["emptyDir"] == {"sizeLimit": "512Mi"}, "emptyDir")
    must(not of_kind(namespaced, "PersistentVolumeClaim"), "a claim without persistence")

    minimal = rendering("minimal")
    must("/data/import" not in json.dumps(minimal), "a claim to import that is not given")
    must({d["kind"] for d in minimal} == {"ConfigMap", "Deployment", "PodMonitor", "PrometheusRule"}, "not minimal")
    must(volume(minimal)["persistentVolumeClaim"] == {"claimName": "records"}, "existingClaim")
    must("storage" not in settings(minimal), "a size cap of an unknown volume")
    must("StorageNearlyFull" not in json.dumps(minimal), "an alert on an unknown volume")
    recorder, _ = of_kind(minimal, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    must(not [k for k in recorder if k.endswith("Probe")], "probes that were switched off")
    must(of_kind(minimal, "Deployment")[0]["spec"]["template"]["spec"]["serviceAccountName"] == "given", "serviceAccount.name")

    vscode = rendering("vscode")
    template = of_kind(vscode, "Deployment")[0]["spec"]["template"]
    must(template["metadata"]["labels"]["app.kubernetes.io/name"] == "kube9-operator", "label of the drop-in")
    must(template["spec"]["containers"][1]["name"] == "operator", "container of the drop-in")
    must([d["data"] for d in of_kind(vscode, "ConfigMap") if d["metadata"]["name"] == "kube9-operator-status"]
         == [{"namespace": "kube9-system"}], "the drop-in's ConfigMap")

    must("object.container == 'operator'" in of_kind(vscode, "ValidatingAdmissionPolicy")[0]["spec"]["validations"][0]["expression"],
         "container of the drop-in in the policy")

    locked = rendering("locked")
    role, = of_kind(locked, "ClusterRole")
    must([r["resources"] for r in role["rules"]] == [["events"]], "rights without the analysis")
    rule, = of_kind(locked, "NetworkPolicy")[0]["spec"]["egress"]
    must(all("ipBlock" in peer and peer["ipBlock"]["cidr"].endswith("/32") for peer in rule["to"]), "egress")
    recorder, query = of_kind(locked, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
    must(recorder["resources"]["limits"]["ephemeral-storage"] == str((128 + 256) << 20), "an emptyDir that evicts its pod")
    must(query["resources"]["limits"]["ephemeral-storage"] == "64Mi", "ephemeral storage of the query")

    ipv6 = rendering("ipv6")
    must(settings(ipv6)["listen"] == "[::]:9090", "listen address")
    must(of_kind(ipv6, "PersistentVolumeClaim")[0]["spec"]["storageClassName"] == "", "storageClassName -")
    must(not of_kind(ipv6, "Service")[0]["metadata"].get("annotations"), "scrapeAnnotations off")
    must(of_kind(ipv6, "Deployment")[0]["metadata"]["name"] == "flight", "fullnameOverride")


def closed_maps():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def walk(node, path):
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        if node.get("type") != "object":
            return
        if path and node.get("additionalProperties") is False:
            print(".".join(path))
        for key, inner in node.get("properties", {}).items():
            walk(inner, path + [key])

    walk(schema, [])


def dashboard_rules():
    dashboard = json.loads((CHART / "dashboards" / "kube9.json").read_text())
    # Grafana's variables, replaced by values.
    variables = {"$__rate_interval": "5m", "$namespace": "kube9-system", "$pod": "kube9-0"}
    rules = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in variables.items():
                expression = expression.replace(name, value)
            must("$" not in expression, f"unknown variable in {expression}")
            rules.append({"record": f"panel{panel['id']}:{target['refId']}:x", "expr": expression})
    must(len(rules) > 20, "hardly a query in the dashboard")
    yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout, width=10**6)


def metrics(paths):
    text = "".join(pathlib.Path(p).read_text() for p in paths)
    found = set(re.findall(r"\b(kube9_[a-z_]+|process_[a-z_]+)\{", text))
    print("\n".join(sorted(re.sub(r"_(bucket|sum|count)$", "", name) for name in found)))


def main():
    match sys.argv[1:]:
        case ["invariants", path]:
            invariants(path)
        case ["effects", folder]:
            effects(folder)
        case ["closed-maps"]:
            closed_maps()
        case ["dashboard-rules"]:
            dashboard_rules()
        case ["metrics", *paths] if paths:
            metrics(paths)
        case _:
            sys.exit(__doc__)
    if faults:
        sys.exit("\n".join(faults))


main()
