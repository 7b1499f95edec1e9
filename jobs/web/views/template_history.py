"""The versions of a template: who saved them, what changed, which jobs used them."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from ...drafts import model_catalog, template_history
from ...drafts.template_history import Use
from ...models import Job, Template, TemplateVersion, only_reads
from ...results.review_sample import format_percent
from ...rules.model_capabilities import EFFORTS
from ...rules.recipes import Recipe
from ...rules.text_changes import Piece, compare_texts
from ..forms.recipes import ANSWER_KINDS
from .access import person
from .fragments import whole_number

PAGE = 10


@dataclass(frozen=True)
class UsedBy:
    """A job that used a version."""

    job: Job

    @property
    def quality(self) -> str:
        """How good its answers are, as far as is known; "" until it has finished."""
        if self.job.state != Job.State.FINISHED or not self.job.sendable_count:
            return ""
        return f"{format_percent(self.job.good_count / self.job.sendable_count)} good"


@dataclass(frozen=True)
class ShownVersion:
    """A version as the page shows it."""

    version: TemplateVersion
    before: Recipe | None
    is_current: bool
    use: Use

    @property
    def texts(self) -> list[tuple[str, list[Piece]]]:
        """What is different from the version before, or all of the first one."""
        now, old = self.version.recipe, self.before or Recipe()
        pairs = [("Prompt", old.prompt, now.prompt), ("Background", old.system, now.system)]
        if self.before is None:
            return [(name, [Piece(text)]) for name, _old, text in pairs if text.strip()]
        return [(name, compare_texts(old, new)) for name, old, new in pairs if old != new]

    @property
    def settings(self) -> list[tuple[str, str, str]]:
        """Name, before ("" for the first version) and now of each setting that was changed."""
        now = dict(_settings(self.version.recipe))
        if self.before is None:  # what is as usual needs no mention
            usual = {**dict(_settings(Recipe())), "Model": "", "Answer": ""}
            return [(name, "", text) for name, text in now.items() if usual[name] != text]
        old = dict(_settings(self.before))
        return [(name, old[name], text) for name, text in now.items() if old[name] != text]

    @property
    def used_by(self) -> list[UsedBy]:
        return [UsedBy(job) for job in self.use.jobs]


def _settings(recipe: Recipe) -> list[tuple[str, str]]:
    asked = [*recipe.answer.labels, *recipe.answer.column_names]
    kind = ANSWER_KINDS[recipe.answer.kind]
    on = {True: "On", False: "Off"}
    return [
        ("Model", model_catalog.name_of(recipe.model)),
        ("Answer", f"{kind}: {', '.join(asked)}"[:300] if asked else kind),
        ("Thinking", EFFORTS.get(recipe.effort, recipe.effort)),
        ("Maximum answer length", f"{recipe.max_tokens:,}" if recipe.max_tokens else "Automatic"),
        ("Prompt caching", on[recipe.cached]),
        ("Skip empty cells", on[recipe.skip_empty]),
        ("Skip duplicates", on[recipe.skip_duplicates]),
        ("Reuse answers", on[recipe.only_new]),
        ("Private columns", ", ".join(recipe.private)[:300] or "None"),
    ]


@require_http_methods(["GET", "HEAD", "POST"])
def history(request: HttpRequest, pk: int) -> HttpResponse:
    """GET lists the versions, `page`: to who may only start with the template, the one that it
    holds now, for earlier ones were not shared. POST puts the `version` back."""
    user = person(request)
    changeable = Template.objects.changeable_by(user)
    if request.method == "POST":
        template = get_object_or_404(changeable, pk=pk)
        number = whole_number(request.POST.get("version", ""))
        if number and template_history.restore_version(template, number, user):
            messages.success(request, f"Version {number} of “{template.name}” was restored.")
        else:
            messages.info(request, "Nothing was changed. The template already holds that version.")
        return redirect("template_history", pk)
    template = get_object_or_404(Template.objects.visible_to(user), pk=pk)
    can_be_changed = changeable.filter(pk=pk).exists()
    sees_all = can_be_changed or only_reads(user)
    found = template.versions.select_related("saved_by")
    if not sees_all:
        found = found[:1]
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    versions = list(page.object_list)
    uses = template_history.jobs_by_version(template, versions, user)
    last = template_history.last_number(template)
    shown = [
        ShownVersion(
            one,
            template_history.before(one) if sees_all else None,
            one.number == last,
            uses[one.number],
        )
        for one in versions
    ]
    context = {
        "template": template,
        "versions": shown,
        "page": page,
        "can_be_changed": can_be_changed,
        "sees_all": sees_all,
    }
    return render(request, "saved_templates/history.html", context)
