"""YAML from strangers to a frozen model: bounded size, no aliases or repeated keys, errors that name file, key and valid keys."""

from __future__ import annotations

import difflib
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HlbenchError

MAX_BYTES = 1 << 20
MAX_DEPTH = 20

# Marks a field that the harness fills in and a file may not name (`Field(json_schema_extra=NOT_IN_FILE)`).
NOT_IN_FILE: dict[str, Any] = {"in_file": False}

ModelT = TypeVar("ModelT", bound=BaseModel)


class StrictModel(BaseModel):
    """Base of every parsed file: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses what makes YAML dangerous or ambiguous: aliases, deep nesting, duplicate keys."""

    depth = 0

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not accepted", problem_mark=mark)
        if getattr(self.peek_event(), "tag", None):
            raise yaml.MarkedYAMLError(problem="tags (!name) are not accepted", problem_mark=self.peek_event().start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH}", problem_mark=self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="keys must be plain words", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key_node.value!r} appears twice", problem_mark=key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 reads 2026-11-21 as a date, `no` as false, 0256 as 174, 1:30 as 90 and 1e-4 as text. Here a plain word is a number or a
# truth value only if everyone would read it so; the rest is text, which the schema refuses where it wants something else.
_REPLACED = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "bool", "int", "float")}
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)$")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$", re.IGNORECASE)
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|false)$"), list("tf"))
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-0123456789"))
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", _DECIMAL, list("-+.0123456789"))


def load_yaml(path: Path, error: type[HlbenchError] = HlbenchError) -> dict[str, Any]:
    """Parse a YAML file whose top level is a mapping.

    Raises `error` when the file is missing, larger than 1 MiB, not UTF-8, not YAML, uses aliases or a key twice.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise error("file is too large for a YAML description", where=str(path), why=f"limit {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as reason:
        raise error("cannot read file", where=str(path), why=reason.strerror or str(reason), fix="check the path") from reason
    except UnicodeDecodeError as reason:
        raise error("file is not UTF-8 text", where=str(path), why=str(reason)) from reason
    try:
        parsed = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader subclass
    except yaml.YAMLError as reason:
        mark = getattr(reason, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise error("not valid YAML", where=f"{path}{line}", why=getattr(reason, "problem", None) or str(reason)) from reason
    except (ValueError, RecursionError) as reason:
        raise error("not valid YAML", where=str(path), why=str(reason)) from reason
    if not isinstance(parsed, dict):
        raise error("top level must be a mapping of keys to values", where=str(path), why=f"found {type(parsed).__name__}")
    return parsed


def parse_model(model: type[ModelT], data: object, where: str, error: type[HlbenchError] = HlbenchError) -> ModelT:
    """`data` as `model`; raises `error` listing every offending key with its file, the reason and the valid keys."""
    try:
        return model.model_validate(data)
    except ValidationError as reason:
        problems = [_explain(model, problem) for problem in reason.errors() if not _only_follows(problem, reason.errors())]
        head = problems[0] if len(problems) == 1 else f"{len(problems)} problems:\n    " + "\n    ".join(problems)
        raise error("file does not fit its schema", where=where, why=head, fix="correct the keys named above") from None


def _only_follows(problem: Any, problems: list[Any]) -> bool:
    """Whether pydantic complains of a short list only because the items in it were refused, for reasons of their own."""
    key = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(other["loc"]) > len(key) and other["loc"][: len(key)] == key for other in problems
    )


def as_tuples(value: Any) -> Any:
    """YAML lists as the tuples that strict models hold, at every depth."""
    if isinstance(value, list):
        return tuple(as_tuples(part) for part in value)
    if isinstance(value, dict):
        return {key: as_tuples(part) for key, part in value.items()}
    return value


def _explain(model: type[BaseModel], problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location) or "(top level)"
    if problem["type"] == "extra_forbidden":
        valid = sorted(_fields_at(model, problem["loc"][:-1]))
        near = difflib.get_close_matches(location[-1], valid, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{key}: unknown key; valid keys here: {', '.join(valid)}{hint}"
    if problem["type"] == "missing":
        return f"{key}: missing; required here: {', '.join(sorted(_fields_at(model, problem['loc'][:-1], required=True)))}"
    found = repr(problem["input"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (found {found if len(found) < 80 else found[:77] + '...'})"


def _fields_at(model: type[BaseModel], location: tuple, required: bool = False) -> list[str]:
    """Keys of the nested model at `location`; list positions and union tags in the location are skipped."""
    for part in location:
        if part not in model.model_fields:
            continue
        nested = _models_in(model.model_fields[part].annotation)
        tagged = [candidate for candidate in nested if _has_tag_in(candidate, location)]
        if not nested:
            return []
        model = (tagged or nested)[0]
    fields = [
        (name, field)
        for name, field in model.model_fields.items()
        if not field.exclude and field.json_schema_extra is not NOT_IN_FILE
    ]
    return [field.alias or name for name, field in fields if field.is_required() or not required]


def _has_tag_in(model: type[BaseModel], location: tuple) -> bool:
    """Whether a Literal of `model` is the union tag that pydantic puts into the location, as `sgd` in `optimizer.sgd.lr`."""
    return any(set(typing.get_args(field.annotation)) & set(location) for field in model.model_fields.values())


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.GenericAlias) or typing.get_origin(annotation) is not None:
        return [model for part in typing.get_args(annotation) for model in _models_in(part)]
    return []
