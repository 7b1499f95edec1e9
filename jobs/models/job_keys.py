"""With whose API key a job is counted, tested, sent and collected.

One rule: with that of the team that the job is shared with, if the team has a key of its own, else
with that of the site. Until a job is confirmed it follows the sharing. From then on it is fixed
(`Job.key_team`), whatever becomes of the sharing, the team or the key; retries use it, too. An
imported batch belongs to the key of the site.
"""

from __future__ import annotations

from django.conf import settings

from .jobs import Job
from .people import Team


def team_of_key(job_pk: int) -> int | None:
    """The number of the team whose key a job uses; None: the key of the site. The team, or its
    key, may be gone."""
    if settings.PRACTICE:
        return None
    facts = Job.objects.filter(pk=job_pk).values_list(
        "confirmed_at", "is_external", "key_team", "team_id", "team__key_file"
    )
    for confirmed_at, is_external, key_team, team, key_file in facts:
        if confirmed_at or is_external:
            return key_team
        return team if key_file else None
    return None


def team_to_confirm(job: Job) -> int | None:
    """What `Job.key_team` becomes when a draft is confirmed now. In a transaction: the team is
    locked, so that it is not deleted meanwhile."""
    if settings.PRACTICE or job.team_id is None:
        return None
    team = Team.objects.select_for_update().filter(pk=job.team_id).first()
    return team.pk if team and team.key_file else None


def in_words(team: int | None) -> str:
    """Whose key it is, for a sentence."""
    return "this site’s API key" if team is None else f"the API key of {team_in_words(team)}"


def at_start(team: int | None) -> str:
    """As `in_words`, at the start of a sentence."""
    words = in_words(team)
    return f"{words[:1].upper()}{words[1:]}"


def team_in_words(team: int) -> str:
    name = Team.objects.filter(pk=team).values_list("name", flat=True).first()
    return f"team “{name}”" if name else f"team {team}, which was deleted"
