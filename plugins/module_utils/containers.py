"""Owns the one form in which a sandbox's container is compared, read from the engine and written to it.
It must not know what should be: the wanted container is given, the engine's answer is given."""

# A sandbox can write to its own standard output without end; the engine keeps this much of it.
LOG = {"Type": "local", "Config": {"max-size": "5m", "max-file": "2"}}


def normalise(inspect, image):
    """The container of a `docker inspect` answer, without what its image (`docker image inspect`, or None) brings.

    Field names are those of the Docker Engine API, "Inspect a container". Everything that loosens the sandbox and has
    no key of its own (groups, sysctls, open system paths) appears as a word in `security_opt`.
    """
    config, host = inspect["Config"], inspect["HostConfig"]
    brought = (image or {}).get("Config") or {}
    return {
        "name": inspect["Name"].lstrip("/"),
        "image": inspect["Image"],
        "user": config.get("User") or "",
        "entrypoint": list(config.get("Entrypoint") or []),
        "command": list(config.get("Cmd") or []),
        "workdir": config.get("WorkingDir") or "",
        "hostname": config.get("Hostname") or "",
        "env": _added(_environment(config), _environment(brought)),
        "labels": _added(config.get("Labels") or {}, brought.get("Labels") or {}),
        "mounts": sorted((_mount(mount) for mount in inspect.get("Mounts") or []), key=lambda mount: mount[1]),
        "tmpfs": dict(host.get("Tmpfs") or {}),
        "network": _network(inspect),
        "ports": sorted(host.get("PortBindings") or {}) + (["all"] if host.get("PublishAllPorts") else []),
        "privileged": bool(host.get("Privileged")),
        "cap_add": _capabilities(host.get("CapAdd")),
        "cap_drop": _capabilities(host.get("CapDrop")),
        "security_opt": _security(host),
        "devices": _devices(host),
        "ipc": host.get("IpcMode") or "",
        "pid": host.get("PidMode") or "",
        "uts": host.get("UTSMode") or "",
        "userns": host.get("UsernsMode") or "",
        "read_only": bool(host.get("ReadonlyRootfs")),
        "memory": host.get("Memory") or 0,
        "memory_swap": host.get("MemorySwap") or 0,
        "cpus": _cpus(host),
        "pids": max(host.get("PidsLimit") or 0, 0),
        "restart": (host.get("RestartPolicy") or {}).get("Name") or "no",
    }


def create_body(wanted):
    """The body of "Create a container" that makes `wanted`; its name goes into the query.

    Mounts are of the kind that fails when its source is missing, instead of making a folder of root's there.
    """
    return {
        "Image": wanted["image"],
        "User": wanted["user"],
        "Entrypoint": wanted["entrypoint"],
        "Cmd": wanted["command"],
        "WorkingDir": wanted["workdir"],
        "Hostname": wanted["hostname"],
        "Env": ["%s=%s" % pair for pair in sorted(wanted["env"].items())],
        "Labels": wanted["labels"],
        "HostConfig": {
            "Mounts": [
                {"Type": "bind", "Source": source, "Target": target, "ReadOnly": mode == "ro"}
                for source, target, mode in wanted["mounts"]
            ],
            "Tmpfs": wanted["tmpfs"],
            "NetworkMode": wanted["network"],
            "Privileged": wanted["privileged"],
            "CapAdd": wanted["cap_add"],
            "CapDrop": wanted["cap_drop"],
            "SecurityOpt": wanted["security_opt"],
            "IpcMode": wanted["ipc"],
            "PidMode": wanted["pid"],
            "UTSMode": wanted["uts"],
            "UsernsMode": wanted["userns"],
            "ReadonlyRootfs": wanted["read_only"],
            "LogConfig": LOG,
            **update_body(wanted),
        },
    }


def update_body(wanted):
    """The body of "Update a container": the limits that change while the container runs."""
    return {
        "Memory": wanted["memory"],
        "MemorySwap": wanted["memory_swap"],
        "NanoCpus": round(wanted["cpus"] * 1e9),
        "PidsLimit": wanted["pids"],
        "RestartPolicy": {"Name": wanted["restart"]},
    }


LIVE = frozenset({"memory", "memory_swap", "cpus", "pids", "restart"})


def differing(wanted, seen):
    """The keys in which two containers differ, in the order of `wanted`."""
    return [key for key in wanted if wanted[key] != seen[key]]


def _environment(config):
    return dict(entry.partition("=")[::2] for entry in config.get("Env") or [])


def _added(seen, brought):
    return {key: value for key, value in seen.items() if brought.get(key) != value}


def _mount(mount):
    source = mount.get("Source") if mount["Type"] == "bind" else "%s:%s" % (mount["Type"], mount.get("Name", ""))
    mode = "rw" if mount.get("RW") else "ro"
    propagation = mount.get("Propagation") or "rprivate"
    return [source, mount["Destination"], mode if propagation == "rprivate" else "%s,%s" % (mode, propagation)]


def _network(inspect):
    """The wanted network, unless somebody attached others by hand: then all that are attached."""
    mode = inspect["HostConfig"].get("NetworkMode") or ""
    attached = sorted((inspect.get("NetworkSettings") or {}).get("Networks") or {})
    return mode if attached in ([], [mode]) else "+".join(attached)


def _capabilities(names):
    return sorted(name[4:] if name.startswith("CAP_") else name for name in names or [])


def _security(host):
    found = {option.replace("no-new-privileges:true", "no-new-privileges") for option in host.get("SecurityOpt") or []}
    found.update("group=%s" % group for group in host.get("GroupAdd") or [])
    found.update("sysctl=%s" % name for name in host.get("Sysctls") or {})
    found.update("volumes-from=%s" % name for name in host.get("VolumesFrom") or [])
    if host.get("MaskedPaths") == [] or host.get("ReadonlyPaths") == []:
        found.add("systempaths=unconfined")
    return sorted(found)


def _devices(host):
    shape = "%(PathOnHost)s:%(PathInContainer)s:%(CgroupPermissions)s"
    found = [shape % device for device in host.get("Devices") or []]
    found += ["rule %s" % rule for rule in host.get("DeviceCgroupRules") or []]
    found += ["request %s" % (request.get("Driver") or "gpu") for request in host.get("DeviceRequests") or []]
    return sorted(found)


def _cpus(host):
    if host.get("NanoCpus"):
        return host["NanoCpus"] / 1e9
    quota, period = host.get("CpuQuota") or 0, host.get("CpuPeriod") or 100000
    return quota / period if quota > 0 else 0.0
