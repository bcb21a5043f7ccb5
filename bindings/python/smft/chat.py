"""chat: conversations as token ids.  Templates that the C library has a renderer for are rendered there; any other runs in jinja2's
sandbox, where that is installed (`pip install smft[jinja2]`)."""
from __future__ import annotations

import ctypes
import datetime
import json
from ctypes import POINTER, c_int32, c_int64
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import _abi
from ._handle import Part, c_text, invoke, struct
from ._library import lib
from .errors import BufferTooSmallError, InvalidError, UnsupportedError, check

Message = Union[Mapping[str, Any], Tuple[str, str]]
Date = Union[None, int, datetime.date]


@dataclass(frozen=True)
class ChatTemplate:
    text: Optional[str]  # in Jinja; None: the tokenizer has none
    hash: str  # SHA-256 of the text without its last newline
    renderer: Optional[str]  # what of the C library stands for it; None: nothing does
    thinks: bool  # thinking=False makes a difference to the renderer
    bos: Optional[str]
    eos: Optional[str]


def template_of(tokenizer: Part) -> ChatTemplate:
    raw = _abi.ChatInfo()

    def text(value: Optional[bytes]) -> Optional[str]:
        return None if value is None else value.decode("utf-8")

    def then(status: int, path: Any) -> ChatTemplate:
        check(status, path)
        return ChatTemplate(text(raw.template_text), raw.hash.decode("ascii"), text(raw.renderer), bool(raw.thinks), text(raw.bos),
                            text(raw.eos))

    return invoke(lib.smft_tokenizer_chat_info, tokenizer, ctypes.byref(raw), then=then)


def normal_messages(messages: Sequence[Message]) -> List[Dict[str, Any]]:
    out: List[Dict[str, Any]] = []
    for i, message in enumerate(messages):
        if isinstance(message, Mapping):
            out.append(dict(message))
        elif isinstance(message, (tuple, list)) and len(message) == 2:
            out.append({"role": message[0], "content": message[1]})
        else:
            raise InvalidError(f"message {i}: expected a dict with role and content, or a pair of them, got {type(message).__name__}")
    return out


def is_plain(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Roles and texts, which is what the C library renders."""
    return all(set(m) == {"role", "content"} and isinstance(m["role"], str) and isinstance(m["content"], str) for m in messages)


def day_of(date: Date) -> datetime.date:
    if date is None:
        return datetime.datetime.now(datetime.timezone.utc).date()
    if isinstance(date, datetime.date):
        return date
    try:
        return datetime.date(date // 10000, date // 100 % 100, date % 100)
    except (TypeError, ValueError):
        raise InvalidError(f"date must be a datetime.date or YYYYMMDD, got {date!r}") from None


# ---- in C --------------------------------------------------------------------------------------------------------------------------


def ids_in_c(tokenizer: Part, messages: Sequence[Mapping[str, Any]], flags: int, renderer: Optional[str], date: Date) -> List[int]:
    raw = (_abi.Message * max(1, len(messages)))()
    for i, message in enumerate(messages):
        raw[i].role = c_text(message["role"], f"role of message {i}")
        raw[i].content = c_text(message["content"], f"content of message {i}")
    day = 0
    if date is not None:
        when = day_of(date)
        day = when.year * 10000 + when.month * 100 + when.day
    options = struct(_abi.ChatOptions, flags=flags, renderer=None if renderer is None else c_text(renderer, "renderer"), date=day)
    n, capacity = c_int64(), 256
    while True:
        ids = (c_int32 * capacity)()
        try:
            invoke(lib.smft_tokenizer_chat, tokenizer, raw, len(messages), ctypes.byref(options), ids, capacity, n)
            return ids[:n.value]
        except BufferTooSmallError:
            capacity = n.value


# ---- in jinja2 ----------------------------------------------------------------------------------------------------------------------


def has_jinja() -> bool:
    try:
        import jinja2.sandbox  # noqa: F401
    except ImportError:
        return False
    return True


def environment(day: datetime.date) -> Any:
    """What templates of Hugging Face are written for.  Templates come with models from anywhere: nothing outside is in reach."""
    import jinja2
    import jinja2.ext
    import jinja2.nodes
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        """{% generation %} marks answers for training; here it is what is in it."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, indent: Optional[int] = None, separators: Any = None,
                sort_keys: bool = False) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                        extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = to_json
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = day.strftime
    return made


def render(template: ChatTemplate, messages: Sequence[Mapping[str, Any]], answer: bool, date: Date,
           variables: Mapping[str, Any]) -> str:
    """Text of a conversation, by jinja2.  What the template refuses is InvalidError."""
    import jinja2
    words: Dict[str, Any] = {"tools": None, "documents": None}
    for name, value in (("bos_token", template.bos), ("eos_token", template.eos)):
        if value is not None:
            words[name] = value
    words.update(variables)
    try:
        compiled = environment(day_of(date)).from_string(template.text)
        return str(compiled.render(messages=messages, add_generation_prompt=answer, **words))
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise InvalidError(f"chat template: {error}") from error


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def refuse_special(encode: Any, messages: Sequence[Mapping[str, Any]]) -> None:
    """Of a rendered text nobody knows what users wrote, so they may not write special tokens at all."""
    for i, message in enumerate(messages):
        for text in strings(message):
            if encode(text, special=False, parse=True) != encode(text, special=False, parse=False):
                raise InvalidError(f"message {i} spells a special token; parse=True makes it that token")


def ids_in_jinja(encode: Any, template: ChatTemplate, messages: Sequence[Mapping[str, Any]], answer: bool, parse: bool, date: Date,
                 variables: Mapping[str, Any]) -> List[int]:
    if not has_jinja():
        raise UnsupportedError(f"the chat template {template.hash} has no renderer in libsmft, or tools or variables were given: that "
                               "needs jinja2 (pip install smft[jinja2])")
    if not parse:
        refuse_special(encode, messages)
    return list(encode(render(template, messages, answer, date, variables), special=False, parse=True))
