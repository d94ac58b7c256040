"""The JSON Schema tells an editor what validation would: known keys, their forms, and where they stand."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from pifleet.content import root
from pifleet.inventory.schema import HOST_VARIABLES, Variables, json_schema, model_at
from pifleet.inventory.starter import TEXT
from tests.unit.inventories import GOOD

SCHEMA = json_schema()


def complaints(value: Any, schema: dict[str, Any], at: str = "") -> list[str]:
    """Where a value is not as a schema says; the keywords are those that the exported schema uses."""
    if "$ref" in schema:
        return complaints(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], at)
    if "anyOf" in schema:
        return [] if any(not complaints(value, one, at) for one in schema["anyOf"]) else [at]
    if isinstance(value, str) and "{{" in value:
        return []
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None),
             "boolean": bool}
    types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    if types and not any(isinstance(value, kinds[one]) for one in types):
        return [at]
    found = [] if value in schema.get("enum", [value]) else [at]
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(at)
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(at)
    for item in value if isinstance(value, list) else []:
        found += complaints(item, schema.get("items", {}), f"{at}[]")
    for key, item in value.items() if isinstance(value, dict) else []:
        patterns = [one for pattern, one in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        inner = schema.get("properties", {}).get(key, (patterns or [schema.get("additionalProperties", True)])[0])
        found += [f"{at}/{key}"] if inner is False else complaints(item, {} if inner is True else inner, f"{at}/{key}")
    return found + [f"{at}/{key}" for key in schema.get("required", []) if isinstance(value, dict) and key not in value]


def with_variable(name: str, value: Any) -> Any:
    inventory = json.loads(json.dumps(GOOD))
    inventory["all"]["vars"][name] = value
    return inventory


@pytest.mark.parametrize("name", ["local.yml", "farm.yml", "gondolin.yml", "kubernetes.yml"])
def test_the_examples_are_as_the_schema_says(name: str) -> None:
    text = (root() / "inventory" / name).read_text()
    assert complaints(yaml.safe_load(text), SCHEMA) == []


def test_the_starter_is_as_the_schema_says() -> None:
    assert complaints(yaml.safe_load(TEXT), SCHEMA) == []


@pytest.mark.parametrize(
    ("name", "value", "at"),
    [
        ("pifleet_develpers", {}, "/all/vars/pifleet_develpers"),
        ("pifleet_fleet", "A b", "/all/vars/pifleet_fleet"),
        ("pifleet_defaults", {"memory": "lots"}, "/all/vars/pifleet_defaults/memory"),
        ("pifleet_defaults", {"cpus": 0}, "/all/vars/pifleet_defaults/cpus"),
        ("pifleet_models", {"m": {"api": "telnet"}}, "/all/vars/pifleet_models/m/api"),
        ("pifleet_models", {"m": {"api": "scripted", "key": "sk-1"}}, "/all/vars/pifleet_models/m/key"),
        ("pifleet_repos", {"web": {"url": "/srv/web.git"}}, "/all/vars/pifleet_repos/web/ref"),
        ("pifleet_developers", {"ana": {"repos": "web"}}, "/all/vars/pifleet_developers/ana/repos"),
        ("pifleet_developers", {"ana": {"sandboxes": {"x": {"memry": "2g"}}}},
         "/all/vars/pifleet_developers/ana/sandboxes/x/memry"),
    ],
)
def test_an_editor_sees_a_mistake_where_it_is(name: str, value: Any, at: str) -> None:
    assert complaints(with_variable(name, value), SCHEMA) == [at]


def test_an_editor_lets_other_variables_and_those_of_hosts_alone() -> None:
    for name in ("base_url", "ansible_user", *HOST_VARIABLES):
        assert complaints(with_variable(name, "x"), SCHEMA) == []


def test_the_schema_is_json_and_names_every_variable() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert set(SCHEMA["$defs"]["Variables"]["properties"]) == set(Variables.model_fields)


def test_the_model_of_a_place_is_found_by_its_path() -> None:
    places = [(), ("pifleet_developers", "ana"), ("pifleet_developers", "ana", "sandboxes", "x"),
              ("pifleet_models", "m", "key"), ("pifleet_repos", "r", "auth", "token")]
    assert [getattr(model_at(place), "__name__", None) for place in places] == [
        "Variables", "Developer", "Sandbox", "Source", "Source"]
    assert model_at(("pifleet_developers",)) is None
    assert model_at(("pifleet_fleet", "x")) is None
