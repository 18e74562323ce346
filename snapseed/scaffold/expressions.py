"""Read an expression as PostgreSQL prints it (`pg_get_expr`) into a tree. What is not known is refused, not guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>[Ee]?'(?:[^']|'')*')
    | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<word>[^\W\d][\w$]*)
    | (?P<symbol>::|[()\[\],.])
    | (?P<operator>[-+*/<>=~!@\#%^&|`?]+)
    )""",
    re.VERBOSE,
)
# How tightly what stands between two operands binds (PostgreSQL manual, 4.1.6); all other operators bind as `_OTHER`.
_OR, _AND, _NOT, _IS, _COMPARISON, _OTHER, _SUM, _PRODUCT, _POWER, _SIGN = range(1, 11)
_BINDING = {
    "OR": _OR,
    "AND": _AND,
    "IS": _IS,
    **dict.fromkeys(["<", ">", "=", "<=", ">=", "<>"], _COMPARISON),
    **dict.fromkeys(["+", "-"], _SUM),
    **dict.fromkeys(["*", "/", "%"], _PRODUCT),
    "^": _POWER,
}
# Words that stand for a value without parentheses behind them.
_MOMENTS = {"CURRENT_DATE", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP"}
_CONSTANTS = {"TRUE": True, "FALSE": False, "NULL": None}
# Words that begin what is not read here.
_UNREAD = {"CASE", "EXTRACT", "OVERLAY", "SUBSTRING", "TRIM", "COLLATE", "AT", "INTERVAL", "SIMILAR", "SELECT"}
# The second word of a type's name.
_SECOND_WORDS = {"varying", "precision", "with", "without", "time", "zone"}


class UnreadError(Exception):
    """The expression has something in it that is not known here."""


@dataclass(frozen=True)
class Literal:
    """A constant: text, a number as text, true, false or NULL."""

    value: str | bool | None
    is_number: bool = False


@dataclass(frozen=True)
class Name:
    """A column, or `VALUE` in the check of a domain."""

    name: str


@dataclass(frozen=True)
class Call:
    """A function, an operator by its sign, or one of `AND`, `OR`, `NOT`, `ARRAY`, `ROW`, `ANY =`, `ALL <>`."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Cast:
    """A value as another type, the name without modifiers."""

    value: Node
    type: str


Node = Literal | Name | Call | Cast


def parse_expression(text: str) -> Node:
    """The tree of an expression. Raises `UnreadError` where it has something in it that is not known here."""
    reader = _Reader(text)
    node = reader.expression(0)
    reader.expect("")
    return node


def columns_of(node: Node) -> list[str]:
    """The names in an expression, each once, in their order."""
    return list(dict.fromkeys(_names(node)))


def conjuncts(node: Node) -> list[Node]:
    """The conditions that all have to hold for `node` to hold."""
    if isinstance(node, Call) and node.function == "AND":
        return [part for argument in node.arguments for part in conjuncts(argument)]
    return [node]


def uncast(node: Node) -> Node:
    """What stands beneath the casts."""
    while isinstance(node, Cast):
        node = node.value
    return node


def _names(node: Node) -> Iterator[str]:
    match node:
        case Name(name):
            yield name
        case Cast(value, _):
            yield from _names(value)
        case Call(_, arguments):
            for argument in arguments:
                yield from _names(argument)
        case _:
            pass


class _Reader:
    """The tokens of a text, and where we are among them."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        place, text = 0, text.strip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise UnreadError(text[place:])
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            place = match.end()
        self._tokens.append(("end", ""))
        self._place = 0

    def expression(self, binding: int) -> Node:
        """An operand, and all that follows and binds more tightly than `binding`."""
        left = self._operand()
        while True:
            kind, text = self._tokens[self._place]
            sign = text.upper() if kind == "word" else text
            if kind == "operator" or sign in {"AND", "OR", "IS"}:
                tightness = _BINDING.get(sign, _OTHER)
                if tightness <= binding:
                    return left
                self._place += 1
                left = self._is(left) if sign == "IS" else self._operation(sign, left, tightness)
            elif kind == "word":
                raise UnreadError(text)
            else:
                return left

    def expect(self, wanted: str) -> None:
        """Pass over a token. Raises `UnreadError` where it is another one."""
        if self._tokens[self._place][1].upper() != wanted:
            raise UnreadError(f"{self._tokens[self._place][1]!r} in place of {wanted!r}")
        self._place += 1

    def _operation(self, sign: str, left: Node, tightness: int) -> Node:
        if self._comes("ANY") or self._comes("ALL"):
            word = self._next()[1].upper()
            self.expect("(")
            right = self.expression(0)
            self.expect(")")
            return Call(f"{word} {sign}", (left, right))
        return Call(sign, (left, self.expression(tightness)))

    def _is(self, left: Node) -> Node:
        negated = self._accepts("NOT")
        if self._accepts("DISTINCT"):
            self.expect("FROM")
            node: Node = Call("IS DISTINCT FROM", (left, self.expression(_IS)))
        else:
            word = self._next()[1].upper()
            if word not in _CONSTANTS:
                raise UnreadError(word)
            node = Call(f"IS {word}", (left,))
        return Call("NOT", (node,)) if negated else node

    def _operand(self) -> Node:
        node = self._simple()
        while True:
            if self._accepts("::"):
                node = Cast(node, self._type())
            elif self._comes("[") or self._comes("."):
                raise UnreadError(self._next()[1])
            else:
                return node

    def _simple(self) -> Node:
        kind, text = self._next()
        match kind:
            case "string":
                if text[0] in "eE":  # with escapes
                    raise UnreadError(text)
                return Literal(text[1:-1].replace("''", "'"))
            case "number":
                return Literal(text, is_number=True)
            case "quoted":
                return self._named(text[1:-1].replace('""', '"'), text)
            case "word":
                return self._worded(text)
            case "operator" if text in {"-", "+"}:
                return Call(f"unary {text}", (self.expression(_SIGN),))
            case "symbol" if text == "(":
                node = self.expression(0)
                self.expect(")")
                return node
        raise UnreadError(text)

    def _worded(self, text: str) -> Node:
        word = text.upper()
        if word == "NOT":
            return Call("NOT", (self.expression(_NOT),))
        if word in _UNREAD:
            raise UnreadError(text)
        if word in _CONSTANTS:
            return Literal(_CONSTANTS[word])
        if word in _MOMENTS:
            return Call("now", ())
        if word == "ARRAY":
            self.expect("[")
            return Call("ARRAY", self._arguments("]"))
        if word == "POSITION":
            self.expect("(")
            wanted = self._operand()
            self.expect("IN")
            inside = self.expression(0)
            self.expect(")")
            return Call("position", (inside, wanted))
        return self._named(text, text)

    def _named(self, name: str, text: str) -> Node:
        if self._accepts("("):
            return Call(text.lower(), self._arguments(")"))
        return Name(name)

    def _arguments(self, end: str) -> tuple[Node, ...]:
        arguments: list[Node] = []
        if self._accepts(end):
            return ()
        while True:
            arguments.append(self.expression(0))
            if self._accepts(end):
                return tuple(arguments)
            self.expect(",")

    def _type(self) -> str:
        kind, text = self._next()
        if kind not in {"word", "quoted"}:
            raise UnreadError(text)
        words = [text]
        while self._accepts("."):
            words = [self._next()[1]]
        while self._tokens[self._place][1].lower() in _SECOND_WORDS:
            words.append(self._next()[1])
        if self._accepts("("):
            self._arguments(")")
        while self._tokens[self._place][1].lower() in _SECOND_WORDS:
            words.append(self._next()[1])
        while self._accepts("["):
            self.expect("]")
            words[-1] += "[]"
        return " ".join(words)

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._place]
        self._place = min(self._place + 1, len(self._tokens) - 1)
        return token

    def _comes(self, text: str) -> bool:
        return self._tokens[self._place][0] in {"word", "symbol"} and self._tokens[self._place][1].upper() == text

    def _accepts(self, text: str) -> bool:
        found = self._comes(text)
        self._place += found
        return found
