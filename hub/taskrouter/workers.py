"""Expressions that choose workers, as the skills our work requires, where they say no more than that."""

from __future__ import annotations

from hub.taskrouter.expressions import Compare, Expression, Join, Key

LISTS = ("skills", "languages", "routing.skills", "routing.languages")  # attributes whose entries are skills
LEVELS = ("routing.levels.", "levels.", "skills.")  # what stands before a skill's name that has a level
LOWEST, HIGHEST = 1, 5


class NotSkills(ValueError):
    """The expression asks for more than skills with lowest levels. The sentence says what."""


def skills_of(expression: Expression) -> dict[str, int]:
    """Each skill with the lowest level that will do; empty for everybody. Raises NotSkills."""
    if isinstance(expression, Join):
        if expression.op != "AND":
            raise NotSkills(f"{expression.op} between skills: work here requires all of its skills")
        merged: dict[str, int] = {}
        for part in expression.parts:
            for name, level in skills_of(part).items():
                merged[name] = max(level, merged.get(name, 0))
        return merged
    left, op, right = expression.left, expression.op, expression.right
    if not isinstance(left, Key) and not isinstance(right, Key):
        if expression in (Compare(1, "==", 1), Compare(True, "==", True)):
            return {}
        raise NotSkills("a comparison of constants")
    if op == "IN" and isinstance(right, Key):
        left, op, right = right, "HAS", left
    if not isinstance(left, Key) or isinstance(right, Key):
        raise NotSkills("a worker compared with the task's own attributes")
    name = left.name.removeprefix("worker.")
    if op == "HAS" and name in LISTS and isinstance(right, str):
        return {_name(right): LOWEST}
    if op in (">=", ">") and isinstance(right, int) and not isinstance(right, bool):
        return {_name(_bare(name)): _level(right + (op == ">"))}
    raise NotSkills(f"{left.name} {op}: only HAS of a list of skills and >= of a level become skills")


def _bare(name: str) -> str:
    for start in LEVELS:
        if name.startswith(start):
            return name.removeprefix(start)
    if "." in name or "[" in name:
        raise NotSkills(f"{name} is no skill's level")
    return name


def _level(level: int) -> int:
    if level > HIGHEST:
        raise NotSkills(f"level {level}: ours go from {LOWEST} to {HIGHEST}")
    return max(LOWEST, level)


def _name(name: str) -> str:
    if not name.strip() or len(name.strip()) > 64:
        raise NotSkills(f"{name[:64]!r} is no name for a skill")
    return name.strip()
