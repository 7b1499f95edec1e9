"""Save a recipe as a template, list the templates, and rename, share or delete them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Case, OuterRef, Subquery, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...actions.teams import teams_to_share_with
from ...drafts import model_catalog
from ...drafts import templates as reusing
from ...models import BY_NAME, Job, Template, recipe_of
from ...rules import column_matching, recipes
from ...rules.recipes import Recipe
from ..forms.recipes import ANSWER_KINDS
from ..forms.templates import TemplateForm, TemplateNameForm
from .access import asked, find_job, person

PAGE = 25
LONGEST_SHOWN = 5_000  # characters of a prompt; the saved text is never cut
FIRST_LINES = 300  # characters


@dataclass(frozen=True)
class Shown:
    """A template as the pages show it."""

    template: Template
    recipe: Recipe
    can_be_changed: bool

    @property
    def key(self) -> str:
        return str(self.template.pk)

    @property
    def last_used(self) -> datetime | None:
        """When the newest job was started from it; of a template from `templates` only."""
        return getattr(self.template, "last_used", None)

    @property
    def first_lines(self) -> str:
        return self.recipe.prompt.strip()[:FIRST_LINES]

    @property
    def columns(self) -> list[str]:
        return column_matching.needed_columns(self.recipe)

    @property
    def answer(self) -> str:
        return ANSWER_KINDS[self.recipe.answer.kind]

    @property
    def model(self) -> str:
        return model_catalog.name_of(self.recipe.model)

    @property
    def prompt(self) -> str:
        return self.recipe.prompt[:LONGEST_SHOWN]

    @property
    def system(self) -> str:
        return self.recipe.system[:LONGEST_SHOWN]

    @property
    def examples(self) -> int:
        return recipes.example_count(self.recipe)

    @property
    def is_cut(self) -> bool:
        return max(len(self.recipe.prompt), len(self.recipe.system)) > LONGEST_SHOWN


def start_context(
    request: HttpRequest, start: reusing.Start | None, no_start: str
) -> dict[str, Any]:
    """What the page of a new job says of its beginning: `start`, or the templates to choose from.
    `no_start`: why what was asked for cannot be had."""
    context: dict[str, Any] = {"start": start, "no_start": no_start}
    if start is None:
        visible = Template.objects.visible_to(request.user).select_related("owner").defer("recipe")
        found = list(visible.by_name())
        context["own_templates"] = [one for one in found if one.owner_id == request.user.pk]
        context["others_templates"] = [one for one in found if one.owner_id != request.user.pk]
    else:
        context["start_prompt"] = start.recipe.prompt.strip()[:FIRST_LINES]
        context["start_model"] = model_catalog.name_of(start.recipe.model)
    return context


@require_safe
def templates(request: HttpRequest) -> HttpResponse:
    """`q`: words of the name, `page`. Those of the person come first."""
    query, user = asked(request, "q"), request.user
    found = Template.objects.visible_to(user).select_related("owner")
    if query:
        found = found.filter(name__icontains=query)
    is_others = Case(When(owner_id=user.pk, then=0), default=1)
    newest = Job.objects.filter(template=OuterRef("pk")).order_by("-pk").values("created_at")[:1]
    found = found.annotate(last_used=Subquery(newest))
    page = Paginator(found.order_by(is_others, *BY_NAME), PAGE).get_page(request.GET.get("page"))
    changeable = set(
        Template.objects.changeable_by(user)
        .filter(pk__in=[one.pk for one in page.object_list])
        .values_list("pk", flat=True)
    )
    shown = [
        Shown(template, reusing.template_recipe(template), template.pk in changeable)
        for template in page.object_list
    ]
    context = {
        "own": [one for one in shown if one.template.owner_id == user.pk],
        "others": [one for one in shown if one.template.owner_id != user.pk],
        "page": page,
        "query": query,
        "teams": list(teams_to_share_with(person(request))),
    }
    return render(request, "saved_templates/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def save_as_template(request: HttpRequest, pk: int) -> HttpResponse:
    """GET asks for a name, POST saves the recipe of the job under it. `replaces`: the name that the
    page said to be taken; without it, a template of that name is not replaced but asked about."""
    job = find_job(request, pk)
    recipe = recipe_of(job)
    possible = job.kind == Job.Kind.TABLE and (job.was_sent or job.state == Job.State.DRAFT)
    if not possible or not recipe.prompt.strip():
        if possible:
            messages.info(request, "Write a prompt first. Then you can save it as a template.")
        return redirect("job", pk)
    own = Template.objects.filter(owner=person(request))
    taken, status = own.filter(name=_preset(job)).first(), 200
    form = TemplateForm(initial={"name": _preset(job), "shared": bool(taken and taken.shared)})
    if request.method == "POST":
        form, status = TemplateForm(request.POST), 422
        taken = own.filter(name=form.cleaned_data["name"]).first() if form.is_valid() else None
        if form.is_valid() and (taken is None or request.POST.get("replaces") == taken.name):
            return _kept(request, job, recipe, form)
        if taken and taken.shared:  # it stays so, unless the person says otherwise
            form = TemplateForm({"name": taken.name, "shared": "yes"})
    context = {"job": job, "form": form, "taken": taken, "kept": Shown(Template(), recipe, False)}
    return render(request, "saved_templates/save.html", context, status=status)


def _kept(request: HttpRequest, job: Job, recipe: Recipe, form: TemplateForm) -> HttpResponse:
    name, shared = form.cleaned_data["name"], form.cleaned_data["shared"]
    gold = reusing.gold_columns(job)
    replaced = reusing.save_template(person(request), name, recipe, shared=shared, gold=gold)
    words = f"Template “{name}” replaced." if replaced else f"Template “{name}” saved."
    messages.success(request, words)
    return redirect("job", job.pk)


def _preset(job: Job) -> str:
    most = Template._meta.get_field("name").max_length
    return job.name[:most].strip()


# --- What can be done with one --------------------------------------------------------------------


def _find(request: HttpRequest, pk: int) -> Template:
    """A template that the person may change. Raises Http404, also for one that they only see."""
    return get_object_or_404(Template.objects.changeable_by(request.user), pk=pk)


@require_POST
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    template = _find(request, pk)
    form = TemplateNameForm(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(map(str, form.errors["name"])))
    elif reusing.rename_template(template, name := form.cleaned_data["name"]):
        messages.success(request, f"Renamed to “{name}”.")
    else:
        messages.error(request, f"You already have a template “{name}”. Choose another name.")
    return redirect("templates")


@require_POST
def share(request: HttpRequest, pk: int) -> HttpResponse:
    """`shared`: "yes", or "no" to keep it to its owner."""
    template = _find(request, pk)
    shared = request.POST.get("shared") == "yes"
    reusing.share_template(template, shared, person(request))
    whose = "Everyone on this site" if shared else "Only its owner"
    messages.success(request, f"{whose} can use “{template.name}” now.")
    return redirect("templates")


@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """GET asks, POST deletes."""
    template = _find(request, pk)
    if request.method != "POST":
        return render(request, "saved_templates/delete.html", {"template": template})
    reusing.delete_template(template, person(request))
    messages.success(request, f"Template “{template.name}” deleted.")
    return redirect("templates")
