"""JSONPath (RFC 9535) over documents from outside: bounded work, whatever a document contains, and where each value was found.

The library reads queries and judges filters. What a query selects is found here: the library takes a text for JSON to be
parsed, and makes half a kilobyte of every value that it passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError
from jsonpath.filter import BaseExpression, FilterQuery
from jsonpath.function_extensions import ExpressionType, FilterFunction
from jsonpath.match import JSONPathMatch
from jsonpath.segments import JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath.selectors import (
    Filter,
    FilterContext,
    IndexSelector,
    JSONPathSelector,
    NameSelector,
    SliceSelector,
    WildcardSelector,
)

from probes.core import Failed, Reason
from probes.expect.patterns import Pattern, shown
from probes.fields import TextSetting

MOST_VISITED = 200_000  # values that one query may pass on its way: some tenths of a second
_FILTER_COST = 5  # to judge a value by a filter takes as long as to pass so many
_LONGEST_PLACE = 200  # characters of a place in a message
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{,79}\Z")

Where = tuple["Where", str | int] | tuple[()]  # the place of a value: that of its parent, and its name or index there


class _Regular(FilterFunction):
    """RFC 9535's match() and search() with RE2. The library's own functions use a backtracking engine."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]  # noqa: RUF012 - the library declares these so
    return_type = ExpressionType.LOGICAL

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole

    def __call__(self, value: object, pattern: object) -> bool:
        """Whether the value matches. False for a value that is no text and for an invalid pattern, as in the RFC."""
        if not isinstance(value, str) or not isinstance(pattern, str):
            return False
        try:
            compiled = Pattern.parse(pattern)
        except ValueError:
            return False
        return compiled.fullmatch(value) if self.whole else compiled.search(value) is not None


class _Environment(JSONPathEnvironment):
    """Strict RFC 9535, with regular expressions in linear time."""

    def __init__(self) -> None:
        super().__init__(strict=True)

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        self.function_extensions["match"] = _Regular(whole=True)
        self.function_extensions["search"] = _Regular(whole=False)


_RFC9535 = _Environment()  # a constant, since making one takes milliseconds


class Found(NamedTuple):
    """A value that a query selected, and its place in the document."""

    value: Any
    where: Where

    @property
    def name(self) -> str:
        """The name of the member that it is; "" for an element and for the whole document."""
        return self.where[1] if self.where and isinstance(self.where[1], str) else ""

    def __str__(self) -> str:
        """Its place as a JSONPath that selects it alone: `$.checks[2].status`. From a long one the middle is left out."""
        parts, where = [], self.where
        while where:
            where, key = where
            parts.append(f".{key}" if isinstance(key, str) and _IDENTIFIER.match(key) else f"[{shown(key)}]")
        place = "$" + "".join(reversed(parts))
        return place if len(place) <= _LONGEST_PLACE else f"{place[: _LONGEST_PLACE // 2]}…{place[-_LONGEST_PLACE // 2 :]}"


@dataclass(frozen=True, slots=True)
class JsonPath(TextSetting):
    """A JSONPath query (RFC 9535), compiled when the configuration is read."""

    DESCRIPTION: ClassVar[str] = "a JSONPath, such as $.status"
    EXAMPLE: ClassVar[str] = "$.status"

    text: str
    compiled: JSONPath = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: Any) -> JsonPath:
        """Compiles a query. Raises ValueError with what is wrong and where."""
        if isinstance(text, JsonPath):
            return text
        if not isinstance(text, str) or not text.startswith("$"):
            raise ValueError(f"{text} is no JSONPath; it starts with $, as in $.status")
        try:
            compiled = _RFC9535.compile(text)
        except JSONPathError as error:
            at = f" at character {error.token.index + 1}" if error.token is not None and error.token.index >= 0 else ""
            raise ValueError(f"{text} is no JSONPath: {error.message}{at}") from None
        except OverflowError:  # of the library, for 1e999
            raise ValueError(f"{text} is no JSONPath: a number in it is too large") from None
        if not isinstance(compiled, JSONPath):
            raise ValueError(f"{text} is no single JSONPath")
        for selector in (selector for segment in compiled.segments for selector in segment.selectors):
            if isinstance(selector, Filter):
                _count_queries_in(selector.expression)
        return cls(text, compiled)

    def find(self, document: Any) -> list[Any]:
        """Every value that the query selects, in document order.

        Raises Failed(body) for a document nested too deeply, and Failed(size) where the query would pass more than MOST_VISITED values.
        """
        return [found.value for found in self.locate(document)]

    def locate(self, document: Any) -> list[Found]:
        """The same with the place of each value."""
        walk = _Walk(self.text, document)
        try:
            return list(map(Found._make, walk.select(self.compiled.segments, document)))
        except (JSONPathError, RecursionError):
            raise Failed(Reason.BODY, f"the document is nested too deeply for {self.text}") from None

    @property
    def selects_one(self) -> bool:
        """Whether the query names one place, so that it can't select several values."""
        return self.compiled.singular_query()

    @property
    def names(self) -> tuple[str, ...]:
        """The names along the query: ("checks", "database", "status") of $.checks.database.status."""
        first = (selector for segment in self.compiled.segments for selector in segment.selectors[:1])
        return tuple(selector.name for selector in first if isinstance(selector, NameSelector))

    @property
    def starts_with_name(self) -> bool:
        """Whether the query asks the document's root for a member, so that the root must be an object."""
        first = self.compiled.segments[:1]
        return bool(first) and self.text[1:3] != ".." and isinstance(first[0].selectors[0], NameSelector)


Node = tuple[Any, Where]


class _Walk:
    """One query's way through one document. It counts the values that it passes, those of the filters' own queries too."""

    def __init__(self, query: str, root: Any) -> None:
        self._query = query
        self._root = root
        self._left = MOST_VISITED

    def select(self, segments: Iterable[JSONPathSegment], start: Any) -> Iterator[Node]:
        """The values that these segments select, and their places below `start`."""
        nodes: Iterator[Node] = iter([(start, ())])
        for segment in segments:
            nodes = self._step(segment, nodes)
        return nodes

    def _step(self, segment: JSONPathSegment, nodes: Iterator[Node]) -> Iterator[Node]:
        descends = isinstance(segment, JSONPathRecursiveDescentSegment)
        for node in nodes:
            for value, where in self._containers(node) if descends else (node,):
                for selector in segment.selectors:
                    yield from self._children(selector, value, where)

    def _containers(self, node: Node) -> Iterator[Node]:
        """The node and all objects and arrays below it, each before what it contains."""
        levels = [iter((node,))]
        while levels:
            for value, where in levels[-1]:
                yield value, where
                if isinstance(value, dict | list):
                    levels.append(self._containers_in(value, where))
                    break
            else:
                levels.pop()

    def _containers_in(self, value: dict[str, Any] | list[Any], where: Where) -> Iterator[Node]:
        for key, each in self._counted(value.items() if isinstance(value, dict) else enumerate(value)):
            if isinstance(each, dict | list):
                yield each, (where, key)

    def _children(self, selector: JSONPathSelector, value: Any, where: Where) -> Iterator[Node]:
        """The children of a value that a selector selects."""
        self._pass(1)
        if isinstance(selector, NameSelector):
            if isinstance(value, dict) and selector.name in value:
                yield value[selector.name], (where, selector.name)
        elif not isinstance(value, dict | list):
            return
        elif isinstance(selector, WildcardSelector):
            for key, each in self._counted(value.items() if isinstance(value, dict) else enumerate(value)):
                yield each, (where, key)
        elif isinstance(selector, Filter):
            yield from self._filtered(selector, value, where)
        elif isinstance(value, list):
            assert isinstance(selector, IndexSelector | SliceSelector)  # noqa: S101 - RFC 9535 has no other, and the environment is strict
            if isinstance(selector, SliceSelector):
                indices = range(*selector.slice.indices(len(value))) if selector.slice.step != 0 else range(0)
                yield from ((value[index], (where, index)) for _, index in self._counted(enumerate(indices)))
            elif -len(value) <= selector.index < len(value):
                index = selector.index % len(value)
                yield value[index], (where, index)

    def _filtered(self, selector: Filter, value: Any, where: Where) -> Iterator[Node]:
        expression = selector.expression.cache_tree() if selector.cacheable_nodes else selector.expression
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            self._pass(_FILTER_COST)
            context = FilterContext(env=_RFC9535, current=each, root=self._root, extra_context={"walk": self}, current_key=key)
            if expression.evaluate(context):
                yield each, (where, key)

    def _counted(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        for pair in pairs:
            self._pass(1)
            yield pair

    def _pass(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise Failed(Reason.SIZE, f"{self._query} would pass more than {MOST_VISITED:,} values of the document")


class _CountedQuery(JSONPath):
    """A query inside a filter, found by the walk of the query around it, so that it counts against the same bound."""

    def finditer(self, data: Any, *, filter_context: Any = None) -> Iterable[JSONPathMatch]:
        """See JSONPath."""
        walk: _Walk = filter_context["walk"]
        for value, _ in walk.select(self.segments, data):
            yield JSONPathMatch(filter_context=filter_context, obj=value, parent=None, path="", parts=(), root=data)


def _count_queries_in(expression: BaseExpression) -> None:
    """Makes every query inside a filter's expression one that is counted."""
    if isinstance(expression, FilterQuery):
        expression.path = _CountedQuery(env=_RFC9535, segments=expression.path.segments)
    for inner in expression.children():
        _count_queries_in(inner)
