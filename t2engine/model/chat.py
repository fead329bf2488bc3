"""Chat templates: a conversation to the one text the model was trained to continue.

A template comes with a model from a stranger, so it runs in jinja2's immutable sandbox with what
transformers gives it (`raise_exception`, `strftime_now`, `tojson`, loop controls), sees only plain
JSON data, and has a budget: so many loop steps and calls, so long a value, so long a text.

Raises: ValueError naming the template and what was wrong with it.
Source: "Chat templates" in the documentation of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from t2engine.model.fields import Fields, read_fields, show

MAX_STEPS = 200_000  # loop steps and calls in one rendering; a long chat needs thousands
MAX_LENGTH = 16_000_000  # characters or items of one value, and characters of the result
TOKEN_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token")

# What a template's own mistakes, and a budget or a sandbox refusing it, can raise.
TEMPLATE_ERRORS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class ChatTemplate:
    """A template and the texts of the special tokens it may name."""

    source: str  # where it was read
    template: str
    special_tokens: Mapping[str, str]

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """The prompt; encode it without adding special tokens, which the template has written."""
        values = {"messages": list(messages), "tools": tools, "documents": None, **variables}
        values["add_generation_prompt"] = add_generation_prompt
        try:
            plain = json.loads(json.dumps(values))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"messages must be plain JSON data, got {show(str(error))}") from error
        if not plain["messages"] or not all(isinstance(m, dict) for m in plain["messages"]):
            raise ValueError(
                f"messages must be one or more objects with role and content, got {show(messages)}"
            )
        try:
            environment = ChatEnvironment()
            tree = Budgeted().visit(environment.parse(self.template))
            pieces = environment.from_string(tree).generate({**self.special_tokens, **plain})
            return join_bounded(pieces)
        except TEMPLATE_ERRORS as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{self.source}: chat template failed: {show(reason)}") from error


def read_chat_template(model_dir: Path, name: str = "default") -> ChatTemplate | None:
    """chat_template.jinja, else `chat_template` in tokenizer_config.json; None if neither is there.

    `name` chooses among several named templates.
    """
    model_dir = Path(model_dir)
    own, config = model_dir / "chat_template.jinja", model_dir / "tokenizer_config.json"
    fields = read_fields(config) if config.is_file() else Fields(str(config), {})
    tokens = special_tokens(fields)
    if name != "default":
        own = model_dir / "additional_chat_templates" / f"{name}.jinja"
    if own.is_file():
        try:
            return ChatTemplate(str(own), own.read_text(encoding="utf-8"), tokens)
        except UnicodeDecodeError as error:
            raise ValueError(f"{own}: must be UTF-8 text, got {error.reason}") from error
    templates = named_templates(fields)
    if name in templates:
        return ChatTemplate(str(config), templates[name], tokens)
    if name != "default":
        raise ValueError(f"{model_dir}: no chat template {name!r}; found {sorted(templates)}")
    return None


def named_templates(fields: Fields) -> dict[str, str]:
    """The templates of tokenizer_config.json: one text, or a list of named ones."""
    value = fields.values.get("chat_template")
    if value is None:
        return {}
    entries = [{"name": "default", "template": value}] if isinstance(value, str) else value
    templates = {}
    for entry in entries if isinstance(entries, list) else [None]:
        match entry:
            case {"name": str(name), "template": str(template)}:
                templates[name] = template
            case _:
                raise fields.fail("chat_template", "a text or a list of {name, template}")
    return templates


def special_tokens(fields: Fields) -> dict[str, str]:
    """Token texts, each stored as a text or as an object with a `content`."""
    tokens = {}
    for name in TOKEN_NAMES:
        match fields.values.get(name):
            case str(text) | {"content": str(text)}:
                tokens[name] = text
            case None:
                pass
            case _:
                raise fields.fail(name, "a text or an object with a content")
    return tokens


# ---- the sandbox -----------------------------------------------------------------------------


class GenerationBlock(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's words for training; here it prints its body."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Budgeted(NodeTransformer):
    """Pass every loop's items and every assigned value through the environment's budget."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - the name jinja2 calls
        node.iter = nodes.Filter(node.iter, "count_steps", [], [], None, None)
        return self.generic_visit(node)

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:  # noqa: N802
        node.node = nodes.Filter(node.node, "limit_length", [], [], None, None)
        return self.generic_visit(node)


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox of one rendering, with its budget."""

    intercepted_binops = frozenset(("*", "**"))

    def __init__(self) -> None:
        extensions = [GenerationBlock, jinja2.ext.loopcontrols]
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
        self.steps = 0
        self.filters |= {
            "tojson": to_json,
            "count_steps": self.count_steps,
            "limit_length": limit_length,
        }
        self.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now}

    def count_steps(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.step()
            yield item

    def step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise SecurityError(f"more than {MAX_STEPS} loop steps and calls")

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.step()
        for value in (*args, *kwargs.values()):
            limit_length(value)
        if isinstance(function, LoopContext):  # a recursive loop
            args = (self.count_steps(args[0]),)
        return super().call(context, function, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("** is not allowed")
        for value, times in ((left, right), (right, left)):
            if isinstance(value, str | list | tuple) and isinstance(times, int):
                limit_length(range(len(value) * max(times, 0)))
        return super().call_binop(context, operator, left, right)


def limit_length(value: Any) -> Any:
    if isinstance(value, str | list | tuple | dict | range) and len(value) > MAX_LENGTH:
        raise SecurityError(f"a value longer than {MAX_LENGTH}")
    return value


def join_bounded(pieces: Iterable[str]) -> str:
    kept, length = [], 0
    for piece in pieces:
        kept.append(piece)
        length += len(piece)
        if length > MAX_LENGTH:
            raise SecurityError(f"a result longer than {MAX_LENGTH} characters")
    return "".join(kept)


def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As jinja2's own, but plain: without escapes for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
