"""Teams, and what is shared with them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from ..models import (
    Access,
    Job,
    JobQuerySet,
    Membership,
    Team,
    Template,
    api_key,
    audit,
    clock,
    is_administrator,
    job_log,
)
from ..spending import caps, ledger

COUNTS = (
    "This job counts for the limit of {team} this month, so only an administrator can move it. You "
    "can still change what the team can do."
)
NO_ROOM = "What this job costs is more than is left of the limit of {team} this month."


class NameTaken(Exception):
    """There is a team with this name."""


class KeyInUse(Exception):
    """Jobs that have not finished use the team's API key. The text says so."""


def save_team(
    team: Team | None, name: str, most_a_month: Decimal | None, people: Iterable[User], by: User
) -> Team:
    """Make or change a team. Raises NameTaken."""
    members = {person.pk for person in people}
    with transaction.atomic():
        before = _facts(team) if team else {}
        team = team or Team()
        team.name, team.most_a_month = name, most_a_month
        try:
            with transaction.atomic():
                team.save()
        except IntegrityError:
            raise NameTaken from None
        theirs = Membership.objects.filter(team=team)
        theirs.exclude(person__in=members).delete()
        added = members - set(theirs.values_list("person_id", flat=True))
        Membership.objects.bulk_create(
            (Membership(team=team, person_id=pk) for pk in added), ignore_conflicts=True
        )
        event = "team_changed" if before else "team_created"
        audit.record_change(event, before, _facts(team), who=by, target=f"team {team.pk}")
    return team


def _facts(team: Team) -> dict[str, str | int | bool | None]:
    people = team.memberships.order_by("person").values_list("person_id", flat=True)
    cap = None if team.most_a_month is None else str(team.most_a_month)
    return {"limit": cap, "name": team.name, "people": " ".join(map(str, people))}


def delete_team(team: Team, by: User) -> None:
    """What was shared with it is its owners' alone again. Raises KeyInUse."""
    with transaction.atomic():
        # Locked: who confirms a job with its key comes before us, or finds the team gone.
        key_file = Team.objects.select_for_update().get(pk=team.pk).key_file
        if jobs_with_key(team).exists():
            raise KeyInUse(
                "Jobs still use this team’s API key. Delete the team when they are done."
            )
        before, target = _facts(team), f"team {team.pk}"
        shared = list(team.jobs.filter(state=Job.State.DRAFT).values_list("pk", flat=True))
        team.delete()
        audit.record("team_deleted", who=by, target=target, before=before)
    Job.objects.filter(pk__in=shared).price_anew(clock.now())  # the site's account is charged
    api_key.forget(key_file)


def jobs_with_key(team: Team) -> JobQuerySet:
    """The jobs that were submitted with its API key and have not finished."""
    return Job.objects.filter(key_team=team.pk, state__in={*Job.SENT} - {Job.State.FINISHED})


def teams_to_share_with(user: User) -> QuerySet[Team]:
    """Administrators share with every team, others with their own."""
    return Team.objects.all() if is_administrator(user) else Team.objects.filter(people=user)


def share_job(job: Job, team: Team | None, access: Access, by: User) -> None:
    """None: with nobody. What the job has cost moves with it. Raises caps.NotAllowed when that
    would lead around the limit of a team."""
    with transaction.atomic():
        caps.lock_caps()
        job = Job.objects.select_for_update().get(pk=job.pk)
        before, old = _sharing(job), job.team
        committed = _committed(old, team)
        job.team, job.team_access = team, access
        Job.objects.filter(pk=job.pk).update(team=team, team_access=access)
        if old != team and (why := _why_not_to_move(old, team, committed, by)):
            raise caps.NotAllowed(why)
        # Only answers that its people see are reused, here and of this job.
        (job.runs_again() | Job.objects.filter(pk=job.pk)).price_anew(clock.now())
        what = {Access.READ: "read", Access.WORK: "work on"}[access]
        text = f"Shared with {team.name}, who can {what} it." if team else "No longer shared."
        job_log.write(job.pk, text, by)
        audit.record_change("job_shared", before, _sharing(job), who=by, job=job.pk)


def _committed(*teams: Team | None) -> list[Decimal]:
    """What counts for the limit of each of these teams this month; 0 for one without a limit."""
    month = ledger.month_of(clock.now())
    return [
        ledger.committed_since(month, team=team)
        if team and team.most_a_month is not None
        else Decimal(0)
        for team in teams
    ]


def _why_not_to_move(old: Team | None, new: Team | None, before: list[Decimal], by: User) -> str:
    """Why a job cannot have moved, as a sentence: a team would be over its limit, or have room
    again that it has used up, which administrators may decide. "" if it can. `before`: what
    _committed said then."""
    left, joined = _committed(old, new)
    if old and left < before[0] and not is_administrator(by):
        return COUNTS.format(team=old.name)
    if new and new.most_a_month is not None and joined > max(before[1], new.most_a_month):
        return NO_ROOM.format(team=new.name)
    return ""


def share_template(template: Template, team: Team | None, access: Access, by: User) -> None:
    """None: with no team."""
    with transaction.atomic():
        before = _sharing(template)
        template.team, template.team_access = team, access
        template.save(update_fields=["team", "team_access"])
        target = f"template {template.pk}"
        audit.record_change("template_shared", before, _sharing(template), who=by, target=target)


def _sharing(thing: Job | Template) -> dict[str, str | int | bool | None]:
    return {"access": str(thing.team_access), "team": thing.team_id}
