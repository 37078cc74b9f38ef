"""A chat template is a program in a small language. Here it is read, and tried within limits, before anything
else uses it.

transformers runs it in jinja2's sandbox, which keeps it from Python and from files, but neither counts its
steps nor weighs what it makes: an endless loop would hold the program, a doubled text fill the memory. The
trial has both limits, without threads or processes, so it is the same on every system. No transformers here:
it costs seconds to load.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import ModelError
from ..message import Message, say

MAX_BYTES = 64 * 2**10  # the longest of known models has 20 KB
MAX_SECONDS = 2.0  # of one trial; an ordinary template takes a few thousandths
MAX_CHARACTERS = 2**20  # of a trial, and of each text made on the way
MAX_FACTOR = 1000
MAX_NUMBER = 2**16  # as a width or a count
_INTERNALS = re.compile(r"__[a-z]+__")
_WIDTH = re.compile(r"[%{][^a-zA-Z]*\d{5}")
_WIDE_FORMAT = re.compile(r"\d{5}|\*")
# marks what an assistant says; changes no text
_TRACKING = re.compile(r"\{%([-+]?)\s*(?:end)?generation\s*([-+]?)%\}")
_TEXT_METHODS = ("replace", "join", "format", "format_map", "translate")
_ASKED = {"role": "user", "content": "a"}
_SAID = {"role": "assistant", "content": "b", "reasoning_content": "c"}
_CALLED = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
}
_TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
}
_TALKS: tuple[dict[str, Any], ...] = (
    {"messages": [_ASKED]},
    {"messages": [{"role": "system", "content": "s"}, _ASKED, _SAID, _ASKED]},
    {"messages": [_ASKED, _CALLED, {"role": "tool", "name": "f", "content": "1"}], "tools": [_TOOL]},
    {"messages": [_ASKED, _SAID] * 20},
)


class _TooMuch(BaseException):
    """A trial went over its limits. Not an `Exception`: no template can catch it."""


def check_template(template: object, *, source: str) -> None:
    """Refuse a chat template that is none, is too long, reaches for the program's internals, or takes time or
    memory without end.

    `template`: the text, or the path of its file. Raises `ModelError`.
    """
    text = _read(template) if isinstance(template, Path) else template
    found = (
        _fault(text)
        if isinstance(text, str)
        else say("The chat template of this model is not readable text.")
    )
    if found is not None:
        raise ModelError(
            found,
            seen=say("{file}", file=source),
            fix=say("Choose another model, for example MODEL=demo"),
        )


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8", "ignore")
    except OSError:
        return None


@lru_cache(maxsize=32)
def _fault(text: str) -> Message | None:
    """Return what is wrong with a template; None if nothing is."""
    from jinja2 import TemplateSyntaxError, nodes

    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return say("The chat template of this model is longer than 64 KB, so it cannot be a real one.")
    environment = _environment()
    try:
        tree = environment.parse(_TRACKING.sub(r"{%\1 if true \2%}{%\1 endif \2%}", text))
    except (TemplateSyntaxError, RecursionError):
        return say("The chat template of this model is damaged.")
    attributes = (node.attr for node in tree.find_all(nodes.Getattr))
    constants = (node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str))
    if any(_INTERNALS.search(name) for name in (*attributes, *constants)):
        return say("The chat template of this model tries to reach inside the program that runs it.")
    endless = say("The chat template of this model would never finish.")
    if _is_endless(tree):
        return endless
    try:
        code = environment.compile(_with_scales(tree))
    except (RecursionError, SyntaxError, MemoryError):
        return say("The chat template of this model is damaged.")
    except _TooMuch:  # what is constant is computed here
        return endless
    made = environment.template_class.from_code(environment, code, environment.make_globals(None))
    return endless if any(_goes_too_far(made, talk) for talk in _TALKS) else None


def _is_endless(tree: Any) -> bool:
    """Return what no template needs, wherever it stands: powers, texts by the thousand, counting loops within
    counting loops.

    jinja2 computes what is constant when it reads a template, so no trial would come early enough.
    """
    from jinja2 import nodes

    constants = [node.value for node in tree.find_all(nodes.Const)]
    if any(type(value) is int and abs(value) > MAX_NUMBER for value in constants):
        return True
    if any(isinstance(value, str) and _WIDTH.search(value) for value in constants):
        return True
    if any(_is_large_product(product) for product in tree.find_all(nodes.Mul)):
        return True
    counting = [loop for loop in tree.find_all(nodes.For) if _counts(loop.iter)]
    nested = any(_counts(inner.iter) for loop in counting for part in loop.body for inner in _loops(part))
    names = {node.name for node in tree.find_all(nodes.Name)}
    return nested or "lipsum" in names or any(tree.find_all(nodes.Pow))


def _is_large_product(product: Any) -> bool:
    """Return one side must be a small number that stands there."""
    from jinja2 import nodes

    factors = [side.value for side in (product.left, product.right) if isinstance(side, nodes.Const)]
    is_small = any(type(factor) in (int, float) and abs(factor) <= MAX_FACTOR for factor in factors)
    return not is_small or any(product.find_all(nodes.Mul))


def _counts(iterated: Any) -> bool:
    from jinja2 import nodes

    calls = [iterated] if isinstance(iterated, nodes.Call) else list(iterated.find_all(nodes.Call))
    return any(isinstance(call.node, nodes.Name) and call.node.name == "range" for call in calls)


def _loops(node: Any) -> Iterator[Any]:
    from jinja2 import nodes

    if isinstance(node, nodes.For):
        yield node
    yield from node.find_all(nodes.For)


def _with_scales(tree: Any) -> Any:
    """Return the tree with filters where the sandbox has no hand in: each `a ~ b`, and both sides of each
    comparison.
    """
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def weighed(node: Any, name: str = "weighed") -> Any:
        return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)

    class Scales(NodeTransformer):
        def visit_Concat(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            return weighed(nodes.List(node.nodes, lineno=node.lineno), "join")

        def visit_Compare(self, node: Any) -> Any:  # noqa: N802
            self.generic_visit(node)
            operands = [nodes.Operand(one.op, weighed(one.expr), lineno=node.lineno) for one in node.ops]
            return nodes.Compare(weighed(node.expr), operands, lineno=node.lineno)

    changed = Scales().visit(tree)
    changed.set_environment(tree.environment)
    return changed


def _goes_too_far(template: Any, talk: dict[str, Any]) -> bool:
    given = {"add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", **talk}
    try:
        with _limited():
            num_characters = 0
            for piece in template.root_render_func(template.new_context(given)):
                num_characters += len(piece)
                if num_characters > MAX_CHARACTERS:
                    return True
    except (_TooMuch, RecursionError, MemoryError, OverflowError):
        return True
    except Exception:  # noqa: BLE001, S110 - templates refuse conversations that they do not know, in many ways
        pass
    return False


@contextmanager
def _limited() -> Iterator[None]:
    """Ends what runs within after `MAX_SECONDS`: each line of Python looks at the clock, and a template
    becomes such lines.
    """
    deadline = time.monotonic() + MAX_SECONDS

    def watch(frame: FrameType, event: str, value: object) -> Callable[..., Any] | None:
        if time.monotonic() > deadline:
            raise _TooMuch
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)


def _environment() -> Any:
    """transformers' environment for chat templates (its chat_template_utils.py), in which every step is
    weighed.
    """
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Weighing(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("+", "*", "%", "**"))

        def call_binop(self, context: Any, operator: str, left: object, right: object) -> Any:
            _weigh_operands(operator, left, right)
            return _weighed(super().call_binop(context, operator, left, right))

        def call(__self, __context: Any, __obj: Any, *args: object, **kwargs: object) -> Any:  # noqa: N805 - as in jinja2
            _weigh_call(__obj, args, kwargs)
            return _weighed(super().call(__context, __obj, *args, **kwargs))

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = Weighing(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols], finalize=_weighed)
    environment.filters["tojson"] = lambda value, **options: str(value)
    environment.filters["weighed"] = _weighed
    for name, made in environment.filters.items():
        environment.filters[name] = _weighing(made)
    environment.globals.update(raise_exception=refuse, strftime_now=lambda pattern: str(pattern))
    return environment


def _weighing(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def weighed(*args: object, **kwargs: object) -> Any:
        _weigh_arguments((*args, *kwargs.values()))
        return _weighed(function(*args, **kwargs))

    return weighed


def _weigh_call(called: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
    if isinstance(owner, str):
        if name in ("format", "format_map") and _WIDE_FORMAT.search(owner):
            raise _TooMuch
        _weigh_arguments((owner, *args, *kwargs.values()), grows=name in _TEXT_METHODS)
        return
    _weigh_arguments(
        (*args, *kwargs.values()), grows=False, counts=called is not range and name != "safe_range"
    )


def _weigh_arguments(values: tuple[Any, ...], *, grows: bool = True, counts: bool = True) -> None:
    lengths = [len(value) + 1 for value in values if isinstance(value, str | list | tuple | dict)]
    product = 1
    for length in lengths if grows else ():
        product *= length
    if product > MAX_CHARACTERS * 64 or (
        counts and any(isinstance(value, int) and abs(value) > MAX_NUMBER for value in values)
    ):
        raise _TooMuch
    for value in values:
        _weighed(value)


def _weigh_operands(operator: str, left: Any, right: Any) -> None:
    if operator == "**":
        raise _TooMuch
    if operator == "%" and isinstance(left, str):
        _weighed(right)
        if _WIDE_FORMAT.search(left):
            raise _TooMuch
    if operator == "*":
        sizes = [len(side) if isinstance(side, str | list | tuple) else abs(side) for side in (left, right)]
        if sizes[0] * sizes[1] > MAX_CHARACTERS:
            raise _TooMuch


def _weighed(value: object) -> Any:
    """Return the value, if it is not too heavy: characters and items, counted as often as they would be
    written.
    """
    budget = MAX_CHARACTERS
    waiting = [value]
    while waiting:
        item = waiting.pop()
        budget -= 1 + (len(item) if isinstance(item, str) else 0)
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        if budget < 0:
            raise _TooMuch
    return value
