"""What may stand in desk.yaml: an entry of each section, with the types of its values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from channels import KINDS
from config.language import N_
from config.retold import stored
from hub.deskfields import ContactFieldEntry
from hub.deskhandout import (
    Grace,
    LastAgentEntry,
    OrderEntry,
    ParkEntry,
    RateEntry,
    ReserveEntry,
    ServingEntry,
    WrapUpEntry,
    graces_in,
    short,
)
from hub.deskvalues import (
    UNITS,
    Channel,
    Count,
    Email,
    Entry,
    Level,
    Name,
    Secret,
    Span,
    among,
    distinct,
    harmless_settings,
    off,
    span,
)
from hub.deskwords import MacroEntry, ReplyEntry
from hub.feed import TYPES
from routing.conditions import validate
from routing.handout import RINGS
from routing.hours import read_calendar
from routing.ladder import TOLD
from routing.promises import WARN_AT
from storage.access import PERMISSIONS, ROLES

HANDOUT = ("boost", "max_wait", "cooldown", "missed_limit", "offers", "paused")  # of a queue, beside order and reserve


def _condition(value: Any) -> Any:
    validate(value)
    return value


def _not_built_in(name: str) -> str:
    if name in ROLES:
        raise ValueError(stored("{name} is built in and can't be made anew", name=repr(name)))
    return name


def _served(queues: list[QueueEntry]) -> list[QueueEntry]:
    if not queues:
        raise ValueError(N_("must have at least one queue: work has to wait somewhere"))
    if sum(queue.default for queue in queues) > 1:
        raise ValueError(N_("has two defaults; one queue takes what no rule claims"))
    return queues


class HolidaysEntry(Entry):
    """Whose public holidays are kept."""

    country: Annotated[str, StringConstraints(max_length=3)]
    region: Annotated[str, StringConstraints(max_length=64)] = ""


class CalendarEntry(Entry):
    """When somebody is there."""

    name: Name
    time_zone: Annotated[str, StringConstraints(max_length=64)]
    hours: dict[str, str | list[str]]
    holidays: HolidaysEntry | None = None
    closed: Annotated[list[str], distinct()] = []
    special: dict[str, str | list[str]] = {}
    ics: str = ""

    @property
    def plan(self) -> dict[str, Any]:
        """All but the name and what says nothing."""
        return self.model_dump(exclude={"name"}, exclude_defaults=True)

    @model_validator(mode="after")
    def _can_be_read(self) -> CalendarEntry:
        read_calendar(self.name, self.plan)
        return self


class TargetsEntry(Entry):
    """How long an answer and the matter may take."""

    first_reply: Span | None = None
    next_reply: Span | None = None
    resolution: Span | None = None


class SlaEntry(TargetsEntry):
    """What a queue promises, on some channels differently; warn_at is per cent of a target."""

    channels: dict[Annotated[str, among(KINDS, N_("kind of channel"))], TargetsEntry] = {}
    warn_at: int = Field(default=WARN_AT, ge=1, le=99)


class ActionEntry(Entry):
    """One thing to do about a target: `slack`, `supervisors`, `priority: 10` or `queue: General`."""

    slack: bool = False
    supervisors: bool = False
    priority: int | None = Field(default=None, ge=1, le=1000)
    queue: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> ActionEntry:
        if len(self.model_fields_set) != 1 or not any(self.model_dump().values()):
            raise ValueError(N_("must be one of slack, supervisors, {priority: 10} and {queue: its name}"))
        return self


def _action(value: Any) -> Any:
    return {value: True} if value in ("slack", "supervisors") else value


Actions = list[Annotated[ActionEntry, BeforeValidator(_action)]]


class EscalateEntry(Entry):
    """What happens when a target is nearly missed, and when it is."""

    on_warning: Actions = []
    on_breach: Actions = []


class ClosedEntry(Entry):
    """What becomes of work while the queue is closed: `hold`, or `overflow: General`."""

    hold: bool = False
    overflow: Name | None = None


def _closed(value: Any) -> Any:
    return {"hold": True} if value == "hold" else value


class StepEntry(Entry):
    """What changes once work has waited for so long, in open time of its queue.

    `require`: it needs these skills from then on and no others. `relax`: these levels are enough, 0 being none, and
    all else stays. `join`: agents of these queues may take it as well.
    """

    after: Span
    require: dict[Name, Level] | None = None
    relax: dict[Name, Annotated[int, Field(ge=0, le=5)]] = {}
    join: Annotated[list[Name], distinct()] = []
    priority: int = Field(default=0, ge=0, le=1000)
    age_credit: Span | None = None
    overflow: Name | None = None
    notify: Annotated[list[Annotated[str, among(TOLD, N_("receiver"))]], distinct()] = []

    @model_validator(mode="after")
    def _does_something(self) -> StepEntry:
        if not any(value for name, value in self if name not in ("after", "require")) and self.require is None:
            raise ValueError(N_("must do something: require, relax, join, priority, age_credit, overflow or notify"))
        if self.require is not None and self.relax:
            raise ValueError(N_("has both require and relax: relax lowers what is asked for, require replaces it"))
        if self.join and self.overflow:
            raise ValueError(N_("has both join and overflow: who joins helps in this queue, and it leaves it"))
        return self


def _in_order(ladder: list[StepEntry]) -> list[StepEntry]:
    lowest: dict[str, int] = {}
    for number, (before, step) in enumerate(zip([None, *ladder], ladder, strict=False), 1):
        if before is not None and step.after <= before.after:
            raise ValueError(
                stored(
                    "has steps out of order: step {number} comes after {span}, and the one before it after {span2}; "
                    "give it a longer time or move it up",
                    number=number,
                    span=span(step.after),
                    span2=span(before.after),
                )
            )
        if step.require is not None:
            lowest.clear()
        for name, level in step.relax.items():
            if level >= lowest.get(name, 6):
                raise ValueError(
                    stored(
                        "has steps out of order: step {number} lets {name} {level} do, and an earlier one {name} "
                        "{lowest} already; lower it or leave it out",
                        number=number,
                        name=name,
                        level=level,
                        lowest=lowest[name],
                    )
                )
            lowest[name] = level
    return ladder


def _ends_with_overflow(ladder: list[StepEntry]) -> list[StepEntry]:
    for number, step in enumerate(ladder[:-1], 1):
        if step.overflow:
            raise ValueError(
                stored(
                    "has steps out of order: after step {number} the ladder of {overflow} counts, so that what follows "
                    "is never taken; move it there or up",
                    number=number,
                    overflow=repr(step.overflow),
                )
            )
    return ladder


LadderEntry = Annotated[list[StepEntry], AfterValidator(_in_order)]


class LimitsEntry(Entry):
    """When a queue is full: so many wait, or the oldest has waited so long. `overflow` takes what comes then."""

    size: int | None = Field(default=None, ge=1, le=1_000_000)
    wait: Span | None = None
    overflow: Name | None = None

    @model_validator(mode="after")
    def _limit(self) -> LimitsEntry:
        if self.size is None and self.wait is None:
            raise ValueError(N_("must have a size or a wait"))
        return self


class QueueEntry(Entry):
    """Where work waits."""

    name: Name
    first_reply: Span | None = None
    sla: SlaEntry | None = None
    offer: Span = 30
    calendar: Name | None = None
    escalate: EscalateEntry = EscalateEntry()
    out_of_hours: Annotated[ClosedEntry, BeforeValidator(_closed)] = ClosedEntry()
    ladder: Annotated[LadderEntry, AfterValidator(_ends_with_overflow)] = []
    limits: LimitsEntry | None = None
    order: OrderEntry = OrderEntry()
    reserve: dict[Channel, ReserveEntry] = {}
    boost: Span | None = None
    max_wait: Span | None = None
    cooldown: Span | None = None
    missed_limit: int | None = Field(default=None, ge=1, le=100)
    offers: int = Field(default=1, ge=1, le=50)  # at so many agents a chat rings at once
    last_agent: Annotated[LastAgentEntry | Literal["off"], BeforeValidator(off)] = LastAgentEntry()
    wrap_up: Annotated[WrapUpEntry | None, short("time")] = None
    park: Annotated[ParkEntry | None, short("after")] = None
    paused: bool = False
    default: bool = False

    @property
    def handout(self) -> dict[str, Any]:
        """What differs from how work is usually handed out, as the database keeps it."""
        said = self.order.model_dump(exclude_defaults=True)
        said |= self.model_dump(include=set(HANDOUT), exclude_defaults=True)
        if self.last_agent == "off":
            said["last_agent"] = {"wait": 0}
        elif kept := self.last_agent.model_dump(exclude_defaults=True):
            said["last_agent"] = kept
        said |= {name: one.said for name in ("wrap_up", "park") if (one := getattr(self, name)) is not None}
        return said | (
            {"reserve": {name: one.model_dump() for name, one in self.reserve.items()}} if self.reserve else {}
        )

    @property
    def first_reply_seconds(self) -> int:
        """The target for the first answer, wherever it stands."""
        return self.first_reply or (self.sla and self.sla.first_reply) or 4 * UNITS["h"]

    @property
    def other_targets(self) -> dict[str, Any]:
        """What `sla` says besides it."""
        return self.sla.model_dump(exclude={"first_reply"}, exclude_defaults=True) if self.sla else {}

    @model_validator(mode="after")
    def _promises_once(self) -> QueueEntry:
        if self.first_reply is not None and self.sla is not None and self.sla.first_reply is not None:
            raise ValueError(N_("has first_reply twice: leave it under sla and take out the other one"))
        return self


class AgentEntry(Entry):
    """Somebody who answers."""

    name: Name
    email: Email
    role: Name = "agent"
    capacity: int = Field(default=100, ge=0, le=10_000)
    queues: Annotated[list[Name], distinct()] = []
    skills: dict[Name, Level] = {}
    profile: Name | None = None
    mail_notices: bool | None = None  # as these two stay as agents have set them where the file says nothing
    signature: Annotated[str, StringConstraints(max_length=2000)] | None = None


class ProfileEntry(Entry):
    """How much of what an agent gets at once, and how."""

    name: Name
    channels: dict[Channel, Count] = {}
    labels: dict[Name, Count] = {}
    blocks: dict[Channel, list[Channel]] = {}
    pull: list[Channel] = []  # taken by hand only
    push: list[Channel] = []  # comes by itself only; what is in neither does both
    rings: list[Channel] = sorted(RINGS)
    rate: RateEntry | None = None
    disconnect: Annotated[dict[Channel, Grace] | Literal["off"], BeforeValidator(off)] = {}
    queues: dict[Name, ServingEntry] = {}

    @property
    def limits(self) -> dict[str, Any]:
        """What differs from the usual limits, as the database keeps it."""
        said = self.model_dump(include={"channels", "labels", "blocks", "pull", "push", "rings"}, exclude_defaults=True)
        graces = graces_in(self.disconnect)
        said |= {"disconnect": graces} if graces else {}
        return said | ({"rate": self.rate.most, "window": self.rate.per} if self.rate else {})

    @model_validator(mode="after")
    def _gets_it_somehow(self) -> ProfileEntry:
        if both := sorted(set(self.pull) & set(self.push)):
            raise ValueError(
                stored(
                    "has {both} in pull and in push: take it out of one, or out of both for either way", both=both[0]
                )
            )
        return self


class ChannelEntry(Entry):
    """One account of a kind."""

    name: Name
    kind: Annotated[str, among(KINDS, N_("kind of channel"))]
    address: Annotated[str, StringConstraints(max_length=320)] = ""
    settings: Annotated[dict[str, Any], AfterValidator(harmless_settings)] = {}


class Placing(Entry):
    """What a rule decides; nothing leaves work in the default queue."""

    queue: Name | None = None
    skills: dict[Name, Level] = {}
    labels: Annotated[list[Name], distinct()] = []  # kinds of which profiles allow only so many at once
    priority: int = Field(default=0, ge=-1000, le=1000)
    ladder: LadderEntry = []  # goes before the queue's own, also in queues that its steps lead to


class RuleEntry(Entry):
    """The first rule whose condition holds decides; the empty condition always holds. One not `enabled` is skipped."""

    name: Name
    enabled: bool = True
    when: Annotated[dict[str, Any], BeforeValidator(_condition)]
    then: Placing


class WebhookEntry(Entry):
    """A subscriber. Without `secret` the one that the hub made and keeps stays."""

    name: Name
    url: Annotated[str, StringConstraints(max_length=2000)]
    secret: Secret | None = None
    events: list[Annotated[str, among(TYPES, N_("event"))]] = []


class RoleEntry(Entry):
    """A role beside those that are built in; it sees these queues as well as those that its people serve."""

    name: Annotated[Name, AfterValidator(_not_built_in)]
    permissions: Annotated[list[Annotated[str, among(PERMISSIONS, N_("permission"))]], distinct()]
    queues: Annotated[list[Name], distinct()] = []


class SignInEntry(Entry):
    """What everybody who signs in needs."""

    second_step: Literal["required", "optional"]


class DeskFile(Entry):
    """The whole file. A section that is None stays as it is in the database."""

    calendars: Annotated[list[CalendarEntry], distinct("name")] | None = None
    queues: Annotated[list[QueueEntry], distinct("name"), AfterValidator(_served)] | None = None
    skills: Annotated[list[Name], distinct()] | None = None
    profiles: Annotated[list[ProfileEntry], distinct("name")] | None = None
    roles: Annotated[list[RoleEntry], distinct("name")] | None = None
    agents: Annotated[list[AgentEntry], distinct("email")] | None = None
    sign_in: SignInEntry | None = None
    channels: Annotated[list[ChannelEntry], distinct("name")] | None = None
    contact_fields: Annotated[list[ContactFieldEntry], distinct("name")] | None = None
    rules: Annotated[list[RuleEntry], distinct("name")] | None = None
    replies: Annotated[list[ReplyEntry], distinct("shortcut")] | None = None
    macros: Annotated[list[MacroEntry], distinct("name")] | None = None
    webhooks: Annotated[list[WebhookEntry], distinct("name")] | None = None
