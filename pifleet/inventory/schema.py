"""Owns the shape of what an operator may write: every variable, its keys, their types, and the JSON Schema for editors.
It must not compare one entry with another, read a file or know Ansible."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from pifleet import egress
from pifleet.inventory import rules
from pifleet.inventory.rules import refuse

# What a host may say besides, with what it is for.
HOST_VARIABLES = {
    "pifleet_gateway_url": "of a host in `pifleet_openshell_gateways`: where it reaches the gateway that others run, "
                           "`https://HOST:PORT`, or `http://127.0.0.1:PORT`",
    "pifleet_gateway_tls": "there, for https: the files of a client, `{ca: PATH, cert: PATH, key: PATH}`",
    "pifleet_gateway_image": "there: the image that the gateway makes sandboxes from; the fleet's own name for it "
                             "where nothing is said",
    "pifleet_openshell_driver": "of a host in `pifleet_openshell`: `docker`",
}
SOURCE_WANTED = "keep it outside: {env: NAME}, {file: PATH} or {command: [PROGRAM, ...]}"
LATER_EXTENSIONS = "this version of pifleet installs no extensions; use []"


def _one_source(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        raise refuse(SOURCE_WANTED)
    return value


def _nothing_yet(wanted: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value != []:
            raise refuse(wanted)
        return value

    return BeforeValidator(check)


def _a_name(what: str) -> rules.Text:
    """A reference to something by name; whether it exists is for whoever knows all of them."""
    return rules.Text(r"[^\x00-\x1f\x7f]+", f"use the name of {what}", 100)


MODEL_NAME = _a_name("a model in pifleet_models")


def _one_or_more(value: Any) -> Any:
    names = value if isinstance(value, list) else [value]
    if not names or not all(map(MODEL_NAME.allows, names)):
        raise refuse("use the name of a model in pifleet_models, or a list of names, the one to start with first")
    return names


_NAME_SCHEMA = {"type": "string", "pattern": MODEL_NAME.pattern, "description": MODEL_NAME.wanted}
ModelNames = Annotated[list[str], BeforeValidator(_one_or_more), WithJsonSchema(
    {"anyOf": [_NAME_SCHEMA, {"type": "array", "items": _NAME_SCHEMA, "minItems": 1}]})]


def _egress_entry(value: Any) -> Any:
    try:
        return egress.entry(value)
    except egress.NotAnEntry as error:
        raise refuse(str(error)) from None


# Read at once, so that what stands in a list is a Destination or the name of a set.
EgressEntry = Annotated[Any, BeforeValidator(_egress_entry), WithJsonSchema({"anyOf": [
    {"type": "string", "description": egress.FORMS},
    {"type": "object", "required": ["to"], "additionalProperties": False,
     "properties": {"to": {"type": "string"}, **{key: {"type": "boolean"} for key in egress.OPTIONS}}},
]})]


class Strict(BaseModel):
    """A mapping in which an unknown key is a mistake and no value is converted."""

    # Only Variables is ever validated by itself; building the others' validators would double the cost of a start.
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class Source(Strict):
    """Where a secret is kept: exactly one of the three."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})
    env: rules.VariableName = Field(default="", description="an environment variable")
    file: rules.FilePath = Field(default="", description="a file beside the inventory")
    command: list[rules.Argument] = Field(default=[], min_length=1, description="a program that prints it")


SecretSource = Annotated[Source, BeforeValidator(_one_source)]


class Auth(Strict):
    """How a private repository is read: a token for https, or a private key for ssh."""

    token: SecretSource | None = None
    ssh_key: SecretSource | None = None


class Repo(Strict):
    url: rules.GitUrl = Field(description="where the repository is")
    ref: rules.GitRef = Field(description="a branch, tag or commit")
    auth: Auth | None = None
    known_hosts: rules.FilePath = Field(default="", description="a file with the ssh server's host keys")


class Model(Strict):
    api: Literal["anthropic-messages", "openai-completions", "openai-responses", "scripted"] = Field(
        description="how pi speaks to the model")
    base_url: rules.HttpUrl = ""
    key: SecretSource | None = None
    models: list[rules.ModelId] = []
    proxy: rules.ProxyUrl = Field(default="", description="an http proxy on the way to the model")
    proxy_auth: SecretSource | None = Field(default=None, description="USER:PASSWORD for the proxy")
    ca: rules.FilePath = Field(default="", description="a PEM file with the only authorities trusted for it")


class Level(Strict):
    """What can be said for the fleet, a developer or a sandbox; the nearest level wins."""

    pattern: Annotated[str, _a_name("a pattern")] = "docker"
    model: ModelNames = []
    cpus: rules.Cpus = 2
    memory: rules.Size = "2g"
    pids: rules.Pids = 512
    requests_at_once: rules.AtOnce = Field(default=16, description="requests to models at the same time")
    requests_per_minute: rules.PerMinute = Field(default=300, description="requests to models in a minute")
    egress: list[EgressEntry] = Field(default=[], description="what it reaches besides its model")


class Sandbox(Level):
    repos: list[Annotated[str, _a_name("a repository in pifleet_repos")]] = []
    host: Annotated[str, _a_name("a host")] = Field(default="", description="pins the sandbox to a host")
    artifacts: list[rules.Glob] = []


class Pi(Strict):
    settings: dict[str, Any] = Field(default={}, description="pi's own settings.json")
    extensions: Annotated[list[Any], _nothing_yet(LATER_EXTENSIONS)] = []


class Developer(Sandbox):
    ssh_keys: list[rules.PublicKey] = []
    pi: Pi = Pi()
    sandboxes: dict[rules.SandboxName, Sandbox] = {}


class PullLimits(Strict):
    """What one pull may bring home at the most."""

    # Names and defaults are those of pifleet/results/limits.py; a test compares them.
    files: rules.Count = Field(default=500_000, description="files of one repository or tree")
    file: rules.Amount = Field(default="8g", description="one file")
    unpacked: rules.Amount = Field(default="32g", description="all files together")
    wire: rules.Amount = Field(default="16g", description="what is sent, compressed")
    refs: rules.Count = Field(default=2000, description="branches and tags of a repository")
    idle: rules.Seconds = Field(default=60, description="seconds without a word from the sandbox")
    total: rules.Seconds = Field(default=3600, description="seconds of one pull")
    ignored_files: rules.Count = Field(default=5000, description="ignored files that come along, per repository")
    ignored_bytes: rules.Amount = Field(default="64m", description="their size together")


class Package(Strict):
    """A file to install: one of file and url, and the sha256 that it must have."""

    sha256: rules.Sha256
    file: rules.FilePath = Field(default="", description="a file beside the inventory, .deb or .tar.gz")
    url: rules.HttpUrl = Field(default="", description="where hosts download it, .deb or .tar.gz")


class EngineSource(Strict):
    """An apt source from which hosts without a Docker engine get one, in place of their distribution's."""

    url: rules.HttpUrl = Field(description="such as https://download.docker.com/linux/debian, or a mirror of it")
    suite: rules.Suite = Field(description="the hosts' release, such as trixie")
    components: list[rules.Suite] = Field(default=["stable"], min_length=1)
    key: rules.FilePath = Field(description="a file with the public key that signs it, as text (.asc)")
    packages: list[rules.PackageName] = Field(default=["docker-ce", "docker-ce-cli", "containerd.io"], min_length=1)


class OpenShell(Strict):
    """What hosts of pifleet_openshell get."""

    version: rules.OpenShellVersion
    packages: list[Package] = Field(min_length=1, description="that hold command, gateway and supervisor")
    engine: rules.Version = Field(default="28.0.0", description="the oldest Docker engine to install it under")


class Toleration(Strict):
    """A taint of nodes that pods put up with."""

    key: rules.LabelKey = Field(default="", description="the taint's key; every taint where nothing is said")
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="whether the value counts")
    value: rules.LabelValue = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Cluster(Strict):
    """What a host in `pifleet_clusters` may say."""

    pifleet_kube_context: rules.KubeContext = Field(
        default="", description="the context in the kubeconfig; its current one where nothing is said")
    pifleet_kubeconfig: rules.FilePath = Field(
        default="", description="a file beside the inventory; kubectl's own where nothing is said")
    pifleet_namespace: rules.NamespacePrefix = Field(
        default="", description="how the names of namespaces begin; the fleet's name where nothing is said")
    pifleet_storage_class: rules.ClassName = Field(
        default="", description="the StorageClass of workspaces; the cluster's default where nothing is said")
    pifleet_storage: rules.Amount = Field(
        default="10g", description="the size of each workspace, 10g where nothing is said")
    pifleet_runtime_class: rules.ClassName = Field(default="", description="a RuntimeClass for pods, such as gvisor")
    pifleet_priority_class: rules.ClassName = Field(default="", description="a PriorityClass for pods")
    pifleet_node_selector: dict[rules.LabelKey, rules.LabelValue] = Field(
        default={}, description="labels of the nodes that pods may run on")
    pifleet_tolerations: list[Toleration] = Field(default=[], description="taints that pods put up with")
    pifleet_user_namespaces: bool = Field(
        default=False, description="no user in a pod is one of its node; needs nodes that serve it")
    pifleet_cluster_image: rules.DigestReference = Field(
        default="", description="the sandboxes' image as nodes pull it; the fleet's own where nothing is said")
    pifleet_cluster_gateway_image: rules.DigestReference = Field(
        default="", description="the model gateway's image as nodes pull it, with nginx and Python")


HOST_VARIABLES |= {
    name: f"of a host in `pifleet_clusters`: {told.description}" for name, told in Cluster.model_fields.items()}


class Variables(Strict):
    """The variables of a fleet, as they stand under all.vars."""

    pifleet_fleet: rules.FleetName = Field(description="the fleet's name")
    pifleet_defaults: Level = Level()
    pifleet_models: dict[rules.ThingName, Model] = {}
    pifleet_repos: dict[rules.ThingName, Repo] = {}
    pifleet_developers: dict[rules.DeveloperName, Developer] = Field(description="developers by name, or {}")
    pifleet_egress_sets: dict[rules.ThingName, list[EgressEntry]] = {}
    pifleet_egress_proxy: rules.ProxyUrl = Field(
        default="", description="an http proxy on the way from the hosts to what egress lists")
    pifleet_egress_proxy_auth: SecretSource | None = Field(default=None, description="USER:PASSWORD for that proxy")
    pifleet_pi_version: rules.Version = "0.87.1"
    pifleet_node_version: rules.Version = "24.21.0"
    pifleet_image_base: rules.ImageBase = "debian"
    pifleet_image_suite: rules.Suite = "bookworm"
    pifleet_image_date: rules.SnapshotDate = ""
    pifleet_image_packages: list[rules.PackageName] = []
    pifleet_image_ca: rules.FilePath = Field(default="", description="a PEM file that the image trusts")
    pifleet_apt_mirror: rules.HttpUrl = ""
    pifleet_npm_registry: rules.HttpUrl = ""
    pifleet_gondolin_guest: Package | None = Field(
        default=None, description="a guest image in Gondolin's published form, .tar.gz, instead of one that is made")
    pifleet_openshell: OpenShell | None = None
    pifleet_engine_source: EngineSource | None = None
    pifleet_results: rules.FilePath = Field(default="results", description="a folder, relative to the inventory's")
    pifleet_pull_limits: PullLimits = PullLimits()
    pifleet_known_hosts: rules.FilePath = Field(default="", description="a file with the hosts' ssh keys")


def model_at(location: tuple[Any, ...], root: type[BaseModel] = Variables) -> type[BaseModel] | None:
    """The model that describes a place such as ("pifleet_developers", "ana"), or None where no model does."""
    kind: Any = root
    for part in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = _bare(field.annotation) if field else None
        else:
            kind = _bare(get_args(kind)[-1]) if get_args(kind) else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _bare(kind: Any) -> Any:
    """A type without Annotated[] and without None."""
    wrapped = get_origin(kind) is Annotated or type(None) in get_args(kind)
    return _bare(get_args(kind)[0]) if wrapped else kind


def json_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of an inventory file that holds the fleet's variables under all.vars."""
    variables = Variables.model_json_schema(ref_template="#/$defs/{model}")
    cluster = Cluster.model_json_schema(ref_template="#/$defs/{model}")
    definitions = variables.pop("$defs") | cluster.pop("$defs")
    variables.pop("additionalProperties")
    # Other variables are the operator's own business; only ours are known by name.
    known = "|".join((*Variables.model_fields, *HOST_VARIABLES))
    variables["patternProperties"] = {f"^(?!(?:{known})$)pifleet_": False}
    host = {"type": ["object", "null"], "properties": cluster["properties"]}
    hosts = {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/Host"}}
    group = {
        "type": ["object", "null"],
        "properties": {"hosts": hosts, "vars": {"type": "object"}, "children": {"$ref": "#/$defs/Groups"}},
        "additionalProperties": False,
    }
    everything = {
        "type": "object",
        "properties": {"vars": {"$ref": "#/$defs/Variables"}, "hosts": hosts, "children": {"$ref": "#/$defs/Groups"}},
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Inventory of a pifleet fleet",
        "type": "object",
        "properties": {"all": everything},
        "additionalProperties": {"$ref": "#/$defs/Group"},
        "$defs": {
            **definitions,
            "Variables": variables,
            "Host": host,
            "Group": group,
            "Groups": {"type": ["object", "null"], "additionalProperties": {"$ref": "#/$defs/Group"}},
        },
    }
