"""A TaskRouter workflow becomes rules that mean the same, and what does not go over is said with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import main
from hub.deskfile import check
from hub.taskrouter import WorkflowError, import_workflow
from hub.taskrouter.conditions import NotTranslated, Translation
from hub.taskrouter.expressions import Compare, Expression, ExpressionError, Join, Key, parse
from hub.taskrouter.workers import NotSkills, skills_of
from routing.conditions import ConditionError, Fields, read_condition

# --- TaskRouter's semantics, as its documentation has them, small and slow -------------------------------------------


def meaning(expression: Expression, attributes: dict[str, Any]) -> bool:
    if isinstance(expression, Join):
        parts = [meaning(part, attributes) for part in expression.parts]
        return not parts[0] if expression.op == "NOT" else all(parts) if expression.op == "AND" else any(parts)
    left, right = (resolved(side, attributes) for side in (expression.left, expression.right))
    op = expression.op
    if op in ("IN", "NOT IN"):
        if not isinstance(right, list) or isinstance(left, list):
            return False
        return any(same(left, one) for one in right) is (op == "IN")
    if op == "HAS":
        return isinstance(left, list) and any(same(one, right) for one in left)
    if isinstance(left, list) or isinstance(right, list):
        return False  # "Using scalar operators on Arrays results in false"
    if op in ("==", "!="):
        return same(left, right) is (op == "==")
    if left is None or right is None:
        return False
    if op == "CONTAINS":
        return isinstance(left, str) and isinstance(right, str) and right in left
    if any(isinstance(side, str | bool) for side in (left, right)):
        return False  # "Comparisons between different types should be avoided"
    return bool({">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right}[op])


def same(one: Any, other: Any) -> bool:
    return one is not None and one == other and isinstance(one, bool) == isinstance(other, bool)


def resolved(side: Any, attributes: dict[str, Any]) -> Any:
    if not isinstance(side, Key):
        return side
    value: Any = attributes
    for step in side.name.removeprefix("task.").split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


# --- expressions and attributes at random ----------------------------------------------------------------------------

SCALARS = ("tier", "score", "who.lang", "vip")
LISTS = ("skills", "who.tags")
words = st.sampled_from(["gold", "old", "en", "sales", "a b", "o'k"])
numbers = st.one_of(st.integers(-3, 6), st.sampled_from([2.5, 5.1]))
constants = st.one_of(words, numbers, st.booleans())
scalar_keys = st.builds(
    lambda name, task: Key(("task." if task else "") + name), st.sampled_from(SCALARS), st.booleans()
)
list_keys = st.builds(Key, st.sampled_from(LISTS))
keys = st.one_of(scalar_keys, list_keys)
orders = st.sampled_from([">", ">=", "<", "<="])
compares = st.one_of(
    st.builds(Compare, keys, st.sampled_from(["==", "!="]), constants),
    st.builds(lambda value, op, key: Compare(value, op, key), constants, st.sampled_from(["==", "!="]), keys),
    st.builds(Compare, keys, orders, numbers),
    st.builds(Compare, numbers, orders, keys),
    st.builds(Compare, keys, st.just("CONTAINS"), words),
    st.builds(Compare, keys, st.just("HAS"), constants),
    st.builds(Compare, keys, st.sampled_from(["IN", "NOT IN"]), st.lists(constants, min_size=1, max_size=3)),
    st.builds(Compare, constants, st.just("IN"), keys),
    st.builds(Compare, scalar_keys, st.just("IN"), keys),
    st.builds(Compare, list_keys, st.just("HAS"), scalar_keys),
    st.builds(Compare, scalar_keys, st.sampled_from(["==", "!="]), scalar_keys),
    st.builds(Compare, scalar_keys, orders, scalar_keys),
    st.builds(Compare, numbers, st.sampled_from(["==", "!=", "<"]), numbers),
)
expressions = st.recursive(
    compares,
    lambda of: st.one_of(
        st.builds(lambda op, parts: Join(op, tuple(parts)), st.sampled_from(["AND", "OR"]),
                  st.lists(of, min_size=2, max_size=3)),
        st.builds(lambda part: Join("NOT", (part,)), of),
    ),
    max_leaves=6,
)  # fmt: skip
tasks = st.fixed_dictionaries(
    {},
    optional={
        "tier": st.one_of(words, numbers, st.booleans()), "score": numbers, "vip": st.booleans(),
        "skills": st.lists(constants, min_size=1, max_size=3),
        "who": st.fixed_dictionaries({}, optional={"lang": words, "tags": st.lists(words, min_size=1, max_size=2)}),
    },
)  # fmt: skip


def written(expression: Expression) -> str:
    """The text that people would write."""
    if isinstance(expression, Join):
        if expression.op == "NOT":
            return f"NOT ({written(expression.parts[0])})"
        return f" {expression.op} ".join(f"({written(part)})" for part in expression.parts)
    return f"{side(expression.left)} {expression.op} {side(expression.right)}"


def side(value: Any) -> str:
    if isinstance(value, Key):
        return value.name
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(side, value))}]"
    return '"{}"'.format(value.replace("'", "\\'")) if isinstance(value, str) else str(value)


@settings(max_examples=150, deadline=None)
@given(expressions, st.lists(tasks, min_size=8, max_size=8))
def test_a_translated_expression_means_the_same(expression: Expression, worlds: list[dict[str, Any]]) -> None:
    assert parse(written(expression)) == expression
    try:
        when = Translation({}).condition(expression)
    except NotTranslated as error:
        assert "it never holds" in str(error), error  # everything else that is generated here goes over
        assert not any(meaning(expression, world) for world in worlds)
        return
    condition = read_condition(when)
    for world in worlds:
        fields = Fields({f"contact.{name}": value for name, value in world.items()})
        assert condition.holds(fields) is meaning(expression, world), (when, world)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("tier == 'Gold' AND type == \"ticket\"", {"all": ["contact.tier eq Gold", "contact.type eq ticket"]}),
        ("a == 1 OR b == 2 AND c == 3", {"any": ["contact.a eq 1", {"all": ["contact.b eq 2", "contact.c eq 3"]}]}),
        ("(a == 1 OR b == 2) and c = true",
         {"all": [{"any": ["contact.a eq 1", "contact.b eq 2"]}, "contact.c eq True"]}),
        ("task.skills HAS 'sales'", "contact.skills includes sales"),
        ("'sales' in skills", "contact.skills includes sales"),
        ("language NOT IN ['en', 'sv']", {"any": ["contact.language not_in en,sv", "contact.language exists False"]}),
        ("busy != true", {"any": ["contact.busy ne True", "contact.busy exists False"]}),
        ("5 < routing.score", "contact.routing.score gt 5"),
        ("from CONTAINS '+46'", "item.sender contains +46"),
        ("channelType == 'web'", "item.channel eq chat"),
        ("1 == 1 AND a == 1", "contact.a eq 1"),
        ("1 == 1", {}),
        ("note == ''", "contact.note exists False"),
    ],
)  # fmt: skip
def test_what_people_write_becomes_what_they_meant(text: str, when: Any) -> None:
    assert short(Translation({}).condition(parse(text))) == when


def short(node: dict[str, Any]) -> Any:
    if "field" in node:
        value = node["value"]
        return f"{node['field']} {node['op']} {','.join(map(str, value)) if isinstance(value, list) else value}"
    return {name: [short(part) for part in parts] for name, parts in node.items()}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a value is missing at 1"),
        ("a ==", "a value is missing"),
        ("a b", "a comparison is missing at 3"),
        ("(a == 1", "closing parenthesis"),
        ("a == 1 b == 2", "AND or OR is missing"),
        ("a == 'open", "can't be read"),
        ("a IN [1, b]", "constants only"),
        ("a IN [1", "bracket|value is missing"),
        ("my-key == 1", "no hyphens"),
        ("(" * 60 + "a == 1" + ")" * 60, "nested deeper"),
        ("a == 1 AND " * 2000 + "a == 1", "longer than"),
    ],
)
def test_what_is_no_expression_is_said_where(text: str, sentence: str) -> None:
    with pytest.raises(ExpressionError, match=sentence):
        parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("worker.languages HAS task.language", "worker.languages"),
        ("tags[0] == 'a'", "a place in a list"),
        ("name > 'm'", "compares numbers"),
        ("'x' NOT IN tags", "a constant NOT IN an attribute"),
        ("a NOT IN b", "NOT IN between two attributes"),
        ("a CONTAINS 5", "CONTAINS with something else"),
        ("1 == 0", "never holds"),
    ],
)
def test_what_our_conditions_can_t_say_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(NotTranslated, match=sentence):
        Translation({}).condition(parse(text))
    with pytest.raises(ConditionError, match="makes no sense for a text"):
        Translation({}).condition(parse("from > 5"))


@pytest.mark.parametrize(
    ("text", "skills"),
    [
        ("1==1", {}),
        ("skills HAS 'support' AND languages HAS \"english\"", {"support": 1, "english": 1}),
        ("worker.routing.skills HAS 'sales'", {"sales": 1}),
        ("worker.routing.levels.sales >= 3 AND routing.skills HAS 'sales'", {"sales": 3}),
        ("english > 2", {"english": 3}),
        ("'es' IN worker.languages", {"es": 1}),
    ],
)
def test_workers_become_skills(text: str, skills: dict[str, int]) -> None:
    assert skills_of(parse(text)) == skills


@pytest.mark.parametrize(
    "text",
    ["skills HAS 'a' OR skills HAS 'b'", "region == 'north'", "languages HAS task.language", "english >= 9", "1 == 0",
     "a.b >= 2"],
)  # fmt: skip
def test_workers_who_are_more_than_skills_stay_behind(text: str) -> None:
    with pytest.raises(NotSkills):
        skills_of(parse(text))


WORKFLOW = {
    "friendly_name": "Support",
    "task_reservation_timeout": 30,
    "configuration": json.dumps(
        {
            "task_routing": {
                "filters": [
                    {
                        "filter_friendly_name": "Gold",
                        "expression": "tier == 'gold' AND channelType IN ['web', 'sms']",
                        "targets": [
                            {"queue": "WQ1", "priority": "10", "timeout": 60, "expression": "worker.english >= 3"},
                            {"queue": "WQ2", "priority": 20, "skip_if": "workers.available == 0"},
                        ],
                    },
                    {
                        "filter_friendly_name": "Odd",
                        "expression": "worker.id IN task.preferred",
                        "targets": [{"queue": "WQ9", "order_by": "worker.level DESC"}],
                    },
                    {"filter_friendly_name": "Gold", "expression": "tier == 'silver'", "targets": []},
                ],
                "default_filter": {"queue": "WQ2"},
            }
        }
    ),
}
QUEUES = {
    "task_queues": [
        {"sid": "WQ1", "friendly_name": "Chat", "target_workers": "skills HAS 'chat'"},
        {"sid": "WQ2", "friendly_name": "General", "target_workers": "1==1"},
    ]
}


def test_a_workflow_becomes_rules_in_its_order_and_says_what_stays_behind() -> None:
    done = import_workflow(json.dumps(WORKFLOW), json.dumps(QUEUES))
    gold, odd, again, rest = done.rules
    assert gold["then"] == {
        "queue": "Chat", "skills": {"chat": 1, "english": 3}, "priority": 10,
        "ladder": [{"after": "1m", "overflow": "General", "require": {}, "priority": 10}],
    }  # fmt: skip
    assert short(gold["when"]) == {"all": ["contact.tier eq gold", "item.channel in chat,sms"]}
    assert (odd["name"], odd["enabled"], odd["when"]) == ("Odd", False, {})
    assert (again["name"], again["then"]) == ("Gold 2", {})
    assert rest == {"name": "Everything else", "when": {}, "then": {"queue": "General"}}
    told = "\n".join(done.left_out)
    for sentence in (
        "skip_if 'workers.available == 0'",
        "Odd: worker.id: rules choose by the task alone", "order_by 'worker.level DESC'",
        "queue WQ9 has no name here", "Gold 2: it has no target", "task_reservation_timeout 30",
    ):  # fmt: skip
        assert sentence in told, told
    assert done.taken == [
        "timeouts of targets: steps of ladders, which count while the queue's calendar is open",
        "attribute channelType: item.channel", "attribute tier: contact.tier",
    ]  # fmt: skip
    assert yaml.safe_load(done.text) == {"rules": done.rules}
    check(yaml.safe_load(done.text))


def targets(*given: dict[str, Any], default: str = "WQ2") -> Any:
    """The one rule of a workflow with these targets, and what was left out of it."""
    fallback = {"default_filter": {"queue": default}} if default else {}
    filters = [{"filter_friendly_name": "One", "expression": "tier == 'gold'", "targets": list(given)}]
    done = import_workflow(json.dumps({"task_routing": {"filters": filters, **fallback}}), json.dumps(QUEUES))
    check(yaml.safe_load(done.text))
    return done.rules[0]["then"].get("ladder", []), " ".join(done.left_out)


def test_targets_with_timeouts_become_a_ladder() -> None:
    ladder, left_out = targets(
        {"queue": "WQ1", "timeout": 10, "priority": 5},
        {"queue": "WQ1", "timeout": "20", "expression": "worker.english >= 3"},
        {"queue": "WQ1", "timeout": 90, "expression": "worker.english >= 3"},
        {"queue": "WQ2", "timeout": 60},
        {"queue": "WQ1", "timeout": 3600, "priority": 50},
    )
    assert ladder == [
        {"after": "10s", "require": {"chat": 1, "english": 3}},
        {"after": "2m", "overflow": "General", "require": {}},
        {"after": "3m", "overflow": "Chat", "require": {"chat": 1}, "priority": 45},
        {"after": "63m", "overflow": "General", "require": {}},
    ]
    assert "One, target 2: its priority is lower than before" in left_out


def test_a_ladder_ends_where_a_target_is_never_left() -> None:
    ladder, left_out = targets({"queue": "WQ1", "timeout": 10}, {"queue": "WQ2"}, {"queue": "WQ1", "timeout": 5})
    assert ladder == [{"after": "10s", "overflow": "General", "require": {}}]
    assert "One: target 2 has no timeout and is never left; those after it are never reached" in left_out
    ladder, left_out = targets({"queue": "WQ1", "timeout": 10}, default="")
    assert ladder == []
    assert "after 10s TaskRouter fails the task, here it goes on waiting in its queue" in left_out


@pytest.mark.parametrize(
    ("workflow", "queues", "sentence"),
    [
        ("nonsense", "", "not valid JSON"),
        ("{}", "", "no task_routing"),
        ('{"task_routing": {"filters": {}}}', "", "filters must be a list"),
        ('{"task_routing": {"filters": [1]}}', "", "filter 1 must be an object"),
        ('{"configuration": "{"}', "", "its configuration is not valid JSON"),
        ('{"task_routing": {}}', "[1", "the list of queues is not valid JSON"),
        ('{"task_routing": {}}', '{"WQ1": 5}', "queues are named by"),
    ],
)
def test_what_is_no_workflow_is_refused(workflow: str, queues: str, sentence: str) -> None:
    with pytest.raises(WorkflowError, match=sentence):
        import_workflow(workflow, queues)


def test_the_command_prints_rules_and_what_it_could_not_translate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow, queues = tmp_path / "workflow.json", tmp_path / "queues.json"
    workflow.write_text(json.dumps(WORKFLOW), "utf-8")
    queues.write_text(json.dumps(QUEUES), "utf-8")
    arguments = ["import", "taskrouter", str(workflow), "--queues", str(queues), "--field", "tier=contact.plan"]
    assert main(lambda settings: None, arguments) == 0
    out = capsys.readouterr().out
    assert yaml.safe_load(out)["rules"][0]["when"]["all"][0]["field"] == "contact.plan"
    assert "# Not translated:" in out and "# - Odd: worker.id" in out
    workflow.write_text("{}")
    assert main(lambda settings: None, arguments) == 2
    assert "no task_routing" in capsys.readouterr().err
