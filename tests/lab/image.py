"""The images of lab machines: a bare Debian host, and the machine that carries the lab's services.

Owns what a bare host holds and the caches of it; must not know how hosts are started or named.
"""

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.lab.engine import CACHE, docker, run

SUITE = "trixie"
PACKAGES = """
systemd systemd-sysv dbus libpam-systemd openssh-server python3 python3-apt sudo ca-certificates
iproute2 procps kmod netbase less
"""
DOWNLOADS = "docker.io docker-cli nginx libnginx-mod-stream squid nftables git"
MASKED = """
systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-modules-load.service
sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount
dev-hugepages.mount dev-mqueue.mount console-getty.service getty.target systemd-logind.service
systemd-timesyncd.service systemd-firstboot.service systemd-journal-flush.service systemd-update-utmp.service
apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
"""

FOLDER = Path(__file__).parent / "image"
SCRIPTED_MODEL = Path(__file__).parents[2] / "roles" / "model_gateway" / "files" / "scripted_model.py"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
CERTIFICATE_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def host_image() -> str:
    """The bare host's image, made where it is missing; its name changes with what goes into it."""
    return build("host", host_files(), {"ROOTFS": rootfs(), "DOWNLOADS": DOWNLOADS, "MASKED": " ".join(MASKED.split())})


def services_image() -> str:
    """The image of the lab's own machine: a host with git and the scripted model."""
    names = ["git_http.py", "lab-git.service", "lab-model.service", "lab-model-keyed.service"]
    files = {name: (FOLDER / name).read_bytes() for name in names}
    return build("services", {**files, "scripted_model.py": SCRIPTED_MODEL.read_bytes()}, {"HOST": host_image()})


def host_files() -> dict[str, bytes]:
    """The build context of a host: whatever this machine was told about reaching its mirrors, hosts need too."""
    environment = [f"{name}={value}" for name, value in sorted(os.environ.items()) if value == CERTIFICATE_BUNDLE]
    certificates = {f"certificates/{path.name}": path.read_bytes() for path in sorted(CERTIFICATES.glob("*.crt"))}
    return {
        "hostinit.sh": (FOLDER / "hostinit.sh").read_bytes(),
        "apt.conf": "".join(f"{line};\n" for line in apt_settings()).encode(),
        "environment": "".join(f"{line}\n" for line in environment).encode(),
        "certificates/.keep": b"",
        **certificates,
    }


def apt_settings() -> list[str]:
    """This machine's own settings for reaching a mirror; mmdebstrap does not read them by itself."""
    wanted = re.compile(r'(Acquire::(?:Check-Valid-Until|Check-Date|Retries|https?::\S+) "[^"]+");')
    found = (wanted.fullmatch(line) for line in run(["apt-config", "dump"]).stdout.splitlines())
    return [*(match[1] for match in found if match), 'Acquire::Languages "none"']


def mirror() -> list[str]:
    """The Debian mirror that this machine uses itself, if it is a Debian; else mmdebstrap's own choice."""
    query = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    return [uri for uri in run(query, check=False).stdout.splitlines() if "security" not in uri][:1]


def rootfs() -> str:
    """The image of an unpacked Debian; its archive outlives the image."""
    options = [f"--aptopt={line}" for line in apt_settings()]
    options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES.split())}", *options, SUITE]
    name = digest(" ".join(command))
    image, archive = f"pifleet-lab/rootfs:{name}", CACHE / f"{SUITE}-{name}.tar"
    if not present(image):
        if not archive.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            partial = archive.with_suffix(".part.tar")
            run([*command, partial, *mirror()])
            partial.rename(archive)
        docker("import", "--change", "LABEL pifleet.lab.cache=rootfs", archive, image)
    return image


def build(kind: str, files: dict[str, bytes], arguments: dict[str, str]) -> str:
    """Build `<kind>.Dockerfile` from these files unless an image of exactly these inputs is there."""
    recipe = (FOLDER / f"{kind}.Dockerfile").read_bytes()
    image = f"pifleet-lab/{kind}:{digest(repr([recipe, sorted(files.items()), sorted(arguments.items())]))}"
    if not present(image):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in {**files, "Dockerfile": recipe}.items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
            docker("build", "--quiet", "--network=host", *given, "--tag", image, folder)
    return image


def present(image: str) -> bool:
    return bool(docker("image", "ls", "--quiet", image))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def forget() -> None:
    """Remove every cached image and archive; the next lab starts from nothing."""
    for kind in ("sandbox", "services", "host", "rootfs"):
        images = docker("image", "ls", "--quiet", "--filter", f"label=pifleet.lab.cache={kind}").split()
        if images:
            docker("image", "rm", "--force", *sorted(set(images)), check=False)
    shutil.rmtree(CACHE, ignore_errors=True)
