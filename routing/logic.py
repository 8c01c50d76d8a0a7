"""What can be told of conditions without traffic: that one never holds, always does, or whenever another does.

Each answer is certain when it is yes. No means that it could not be told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from routing.conditions import Condition, Fields, Group, Leaf, Node
from routing.fields import Kind


def never(condition: Condition) -> Leaf | None:
    """A comparison that can't hold beside the others around it, so that the whole never does."""
    return None if condition.root is None else _never(condition.root)


def always(condition: Condition) -> bool:
    """Whether it holds for everything."""
    return condition.root is None or _always(condition.root)


def implies(narrow: Condition, wide: Condition) -> bool:
    """Whether `wide` holds whenever `narrow` does."""
    if always(wide):
        return True
    if narrow.root is None or wide.root is None or not narrow.asks & wide.asks:
        return False
    return _implies(narrow.root, wide.root, {})


def _never(node: Node) -> Leaf | None:
    if isinstance(node, Leaf):
        return None
    if node.name == "any":
        dead = [_never(part) for part in node.parts]
        return dead[0] if all(dead) else None
    if node.name == "not":
        return next(_leaves(node), None) if any(_always(part) for part in node.parts) else None
    for part in node.parts:
        if (dead_leaf := _never(part)) is not None:
            return dead_leaf
    return _contradiction(list(_conjuncts(node)))


def _always(node: Node) -> bool:
    if isinstance(node, Leaf):
        return False
    if node.name == "all":
        return all(_always(part) for part in node.parts)
    if node.name == "not":
        return all(_never(part) is not None for part in node.parts)
    if any(_always(part) for part in node.parts):
        return True
    asked = [leaf for leaf in node.parts if isinstance(leaf, Leaf) and leaf.op == "exists"]
    known = {(leaf.key, _needs_value(leaf)) for leaf in asked}
    return any((key, not wanted) in known for key, wanted in known)


def _conjuncts(node: Node) -> Iterator[Leaf]:
    """The leaves that all have to hold."""
    if isinstance(node, Leaf):
        yield node
    elif node.name == "all":
        for part in node.parts:
            yield from _conjuncts(part)


def _leaves(node: Node) -> Iterator[Leaf]:
    if isinstance(node, Leaf):
        yield node
    else:
        for part in node.parts:
            yield from _leaves(part)


def _contradiction(leaves: list[Leaf]) -> Leaf | None:
    """The last of several leaves on one field that can't all hold."""
    by_field: dict[str, list[Leaf]] = defaultdict(list)
    for leaf in leaves:
        by_field[leaf.key].append(leaf)
    for key, group in by_field.items():
        if not all(map(_needs_value, group)):
            if (other := next((leaf for leaf in group if _needs_value(leaf)), None)) is not None:
                return other
            continue
        fixed = [leaf for leaf in group if not leaf.other]
        for leaf in fixed:
            if leaf.op in ("eq", "in"):
                values = leaf.value if leaf.op == "in" else [leaf.value]
                left = [Fields({key: value}) for value in values]
                for each in fixed:
                    left = [fields for fields in left if each.test(fields)]
                    if not left:
                        return each
                break
        if (late := _empty_range(fixed) or _unlike_beginnings(fixed)) is not None:
            return late
    return None


def _needs_value(leaf: Leaf) -> bool:
    return not (leaf.op == "exists" and leaf.value is False)


def _range(leaf: Leaf) -> tuple[float | str, float | str] | None:
    """From where to where a comparison holds; None when that is no single stretch."""
    if leaf.other or leaf.op not in ("gte", "lte", "between"):  # gt and lt are no closed stretch
        return None
    text = leaf.kind in (Kind.TIME, Kind.DATE)
    least: float | str = "" if text else float("-inf")
    most: float | str = "\x7f" if text else float("inf")
    if leaf.op == "gte":
        return leaf.value, most
    if leaf.op == "lte":
        return least, leaf.value
    low, high = leaf.value
    return None if low > high else (low, high)


def _empty_range(leaves: list[Leaf]) -> Leaf | None:
    low = high = None
    for leaf in leaves:
        if (stretch := _range(leaf)) is None:
            continue
        low = stretch[0] if low is None or stretch[0] > low else low  # type: ignore[operator]
        high = stretch[1] if high is None or stretch[1] < high else high  # type: ignore[operator]
        if low > high:  # type: ignore[operator]
            return leaf
    return None


def _unlike_beginnings(leaves: list[Leaf]) -> Leaf | None:
    longest = ""
    for leaf in leaves:
        if leaf.op == "prefix":
            start = leaf.value.strip().casefold()
            if not (start.startswith(longest) or longest.startswith(start)):
                return leaf
            longest = max(longest, start, key=len)
    return None


def _implies(narrow: Node, wide: Node, known: dict[tuple[int, int], bool]) -> bool:
    """Every pair of nodes is looked at once."""
    pair = id(narrow), id(wide)
    if pair not in known:
        known[pair] = False  # a tree has no circles; this only keeps the type simple
        known[pair] = _really_implies(narrow, wide, known)
    return known[pair]


def _really_implies(narrow: Node, wide: Node, known: dict[tuple[int, int], bool]) -> bool:
    if isinstance(narrow, Leaf) and isinstance(wide, Leaf):
        return _leaf_implies(narrow, wide)
    if isinstance(wide, Group) and wide.name == "all":
        return all(_implies(narrow, part, known) for part in wide.parts)
    if isinstance(wide, Group) and wide.name == "not" and all(_exclude(narrow, part) for part in wide.parts):
        return True
    if isinstance(narrow, Group) and narrow.name == "any":
        return all(_implies(part, wide, known) for part in narrow.parts)
    if isinstance(wide, Group) and wide.name == "any" and any(_implies(narrow, part, known) for part in wide.parts):
        return True
    if isinstance(narrow, Group) and narrow.name == "all":
        return any(_implies(part, wide, known) for part in narrow.parts)
    if isinstance(narrow, Group) and isinstance(wide, Group) and narrow.name == wide.name == "not":
        # None of A forbids all that none of B forbids, when each of B is covered by one of A.
        return all(any(_implies(part, over, known) for over in narrow.parts) for part in wide.parts)
    return False


def _exclude(one: Node, other: Node) -> bool:
    return _contradiction([*_conjuncts(one), *_conjuncts(other)]) is not None


def _leaf_implies(narrow: Leaf, wide: Leaf) -> bool:
    if narrow.key != wide.key:
        return False
    if (narrow.op, repr(narrow.value)) == (wide.op, repr(wide.value)):
        return True
    if wide.op == "exists":
        return _needs_value(wide) and _needs_value(narrow)
    if narrow.other or wide.other:
        return False
    if narrow.op in ("eq", "in"):
        values = narrow.value if narrow.op == "in" else [narrow.value]
        return all(wide.test(Fields({wide.key: value})) for value in values)
    inner, outer = _range(narrow), _range(wide)
    if inner is not None and outer is not None:
        return bool(inner[0] >= outer[0] and inner[1] <= outer[1])  # type: ignore[operator]
    if narrow.op in ("has", "has_any") and wide.op == "has_any":
        words = narrow.value if narrow.op == "has_any" else [narrow.value]
        return {word.strip().casefold() for word in words} <= {word.strip().casefold() for word in wide.value}
    if narrow.op == wide.op == "prefix":
        return bool(narrow.value.strip().casefold().startswith(wide.value.strip().casefold()))
    if narrow.op in ("ne", "not_in") and wide.op in ("ne", "not_in"):
        excluded = wide.value if wide.op == "not_in" else [wide.value]
        return all(not narrow.test(Fields({narrow.key: value})) for value in excluded)
    return False
