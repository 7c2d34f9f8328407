"""A renderer for the features of kustomize that `tfbert/serving/deploy/kubernetes` uses.

Every other feature of a kustomization is an error, so that no file relies on a feature that the tests do not render.
"""

import copy
import hashlib

import yaml

KNOWN = {"apiVersion", "kind", "resources", "configMapGenerator", "secretGenerator", "images", "patches"}


def build(folder):
    """Return the objects of a kustomization, with the names of generated ones."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    unknown = kustomization.keys() - KNOWN
    assert not unknown, f"{folder}: {unknown}"
    objects = []
    for name in kustomization.get("resources", ()):
        path = (folder / name).resolve()
        assert path.exists(), path
        if path.is_dir():
            objects += build(path)
        else:
            # kustomize only reads files in or below the directory of the kustomization.
            assert path.is_relative_to(folder.resolve()), path
            objects += [entry for entry in yaml.safe_load_all(path.read_text(encoding="utf-8")) if entry]
    for kind, key in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
        objects += [_generated(kind, entry, folder) for entry in kustomization.get(key, ())]
    for entry in kustomization.get("patches", ()):
        assert entry.keys() == {"path"}, entry
        objects = _patched(objects, yaml.safe_load((folder / entry["path"]).read_text(encoding="utf-8")))
    for entry in kustomization.get("images", ()):
        for container in containers(objects):
            if container["image"].partition(":")[0] == entry["name"]:
                container["image"] = f"{entry['newName']}:{entry['newTag']}"
    return _renamed(objects)


def containers(objects):
    """Return the containers of all pods."""
    pods = [entry["spec"]["template"]["spec"] for entry in objects if entry["kind"] == "Deployment"]
    return [container for pod in pods for container in pod["containers"]]


def named(objects, kind, name=None):
    """Return the only object of a kind, or the one with a name."""
    [match] = [entry for entry in objects if entry["kind"] == kind and name in (None, entry["metadata"]["name"])]
    return match


def _generated(kind, entry, folder):
    files = {name: (folder / name).read_text(encoding="utf-8") for name in entry["files"]}
    is_plain = entry.get("options", {}).get("disableNameSuffixHash", False)
    suffix = "" if is_plain else "-" + hashlib.sha256(repr(files).encode()).hexdigest()[:10]
    field = "data" if kind == "ConfigMap" else "stringData"
    metadata = {"name": entry["name"] + suffix, "annotations": {"was": entry["name"]}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, field: files}


def _renamed(objects):
    """Replace the names of generated config maps in volumes."""
    names = {
        (entry["kind"], entry["metadata"]["annotations"]["was"]): entry["metadata"]["name"]
        for entry in objects
        if "was" in entry["metadata"].get("annotations", {})
    }
    for entry in objects:
        if entry["kind"] != "Deployment":
            continue
        for volume in entry["spec"]["template"]["spec"].get("volumes", ()):
            if "configMap" in volume:
                name = volume["configMap"]["name"]
                volume["configMap"]["name"] = names.get(("ConfigMap", name), name)
    return objects


def _patched(objects, patch):
    matches = [
        index
        for index, entry in enumerate(objects)
        if (entry["kind"], entry["metadata"]["name"]) == (patch["kind"], patch["metadata"]["name"])
    ]
    assert len(matches) == 1, f"patches {len(matches)} objects: {patch['kind']} {patch['metadata']['name']}"
    if patch.get("$patch") == "delete":
        return objects[: matches[0]] + objects[matches[0] + 1 :]
    return [_merged(entry, patch) if index == matches[0] else entry for index, entry in enumerate(objects)]


def _merged(base, patch):
    """Merge as Kubernetes does: lists of named objects are merged by name, other lists are replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        merged = copy.deepcopy(base)
        for key, value in patch.items():
            merged[key] = _merged(base[key], value) if key in base else value
        return merged
    if isinstance(patch, list) and all(isinstance(entry, dict) and "name" in entry for entry in [*base, *patch]):
        by_name = {entry["name"]: entry for entry in base}
        for entry in patch:
            by_name[entry["name"]] = _merged(by_name[entry["name"]], entry) if entry["name"] in by_name else entry
        return list(by_name.values())
    return patch
