"""Who may use this site, their roles, and invitations. Auditors see it, administrators change
it."""

from __future__ import annotations

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...actions import erasure, invitations
from ...actions import people as changes
from ...models import Invitation, Job, Role, Team, audit, clock, is_erased, outbox, role_of
from ...rules import wording
from .. import mails
from ..forms.people import InviteForm, NewOwnerForm, RoleForm
from .access import administrators_only, everything_readers_only, person

PAGE = 50


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@everything_readers_only
def people(request: HttpRequest) -> HttpResponse:
    """POST invites a person. Their link is sent by mail, or shown this once."""
    form = InviteForm(request.POST or None)
    if form.is_valid():
        return _invited(request, form)
    everyone = User.objects.select_related("profile").prefetch_related("teams")
    everyone = everyone.annotate(
        job_count=Count("job", distinct=True), seen_at=Max("usersession__last_seen_at")
    )
    page = Paginator(everyone.order_by("-is_active", "username"), PAGE)
    context = {
        "form": form,
        "page": page.get_page(request.GET.get("page")),
        "invitations": Invitation.objects.open(clock.now()).order_by("-made_at")[:PAGE],
        "has_teams": Team.objects.exists(),
        "stuck_mails": outbox.stuck_mails(),
    }
    return render(request, "people/list.html", context)


def _invited(request: HttpRequest, form: InviteForm) -> HttpResponse:
    found = form.cleaned_data
    role, mail = Role(found["role"]), found["mail"]
    by = person(request).username
    subject = f"{by} invites you to batchsite"
    with transaction.atomic():
        token = invitations.invite(role, found["teams"], mail, person(request))
        link = request.build_absolute_uri(reverse("invitation", args=[token]))
        words: dict[str, object] = {"link": link, "by": by}
        is_mailed = mails.post(mail, subject, "mails/invitation.txt", words)
    context = {"link": link, "is_invitation": True, "mail": mail if is_mailed else ""}
    return render(request, "people/link.html", context)


@require_POST
@administrators_only
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    if invitations.withdraw(pk, person(request)):
        messages.success(request, "Invitation withdrawn. Its link no longer works.")
    else:
        messages.info(request, "That invitation was used or has expired.")
    return redirect("people")


@require_safe
@administrators_only
def one(request: HttpRequest, pk: int) -> HttpResponse:
    """What can be done with a person."""
    found = get_object_or_404(User.objects.select_related("profile"), pk=pk)
    context = {
        "found": found,
        "role": role_of(found),
        "role_form": RoleForm(initial={"role": role_of(found)}),
        "owner_form": NewOwnerForm(found),
        "job_count": found.job_set.count(),
        "has_two_factor": is_mfa_enabled(found),
        "is_erased": is_erased(found),
    }
    return render(request, "people/one.html", context)


@require_POST
@administrators_only
def person_role(request: HttpRequest, pk: int) -> HttpResponse:
    found, form = get_object_or_404(User, pk=pk), RoleForm(request.POST)
    if form.is_valid():
        role = Role(form.cleaned_data["role"])
        try:
            if changes.set_role(found, role, person(request)):
                messages.success(request, f"{found.username} is now: {role.label}.")
        except changes.NotPossible as why:
            messages.error(request, str(why))
    return redirect("people" if found == request.user else "person", *_args(found, request))


def _args(found: User, request: HttpRequest) -> list[int]:
    """Who has just lost the role has no page of a person any more."""
    return [] if found == request.user else [found.pk]


@require_POST
@administrators_only
def person_active(request: HttpRequest, pk: int) -> HttpResponse:
    """Reactivate (active=yes) or deactivate (active=no) a person. `new_owner` gets their jobs."""
    found = get_object_or_404(User, pk=pk)
    active = request.POST.get("active") == "yes"
    if found == request.user:
        messages.error(request, "You can’t deactivate your own account. Another administrator can.")
        return redirect("people")
    form = NewOwnerForm(found, request.POST)
    new_owner = form.cleaned_data["new_owner"] if form.is_valid() and not active else None
    try:
        changes.set_active(found, active, person(request), new_owner)
    except changes.NotPossible as why:
        messages.error(request, str(why))
        return redirect("person", pk)
    if active:
        messages.success(request, f"{found.username} can sign in again.")
    elif new_owner:
        messages.success(
            request, f"{found.username} can no longer sign in. {new_owner.username} has their jobs."
        )
    else:
        messages.success(request, f"{found.username} can no longer sign in. Their jobs stay.")
    return redirect("people")


@require_POST
@administrators_only
def hand_over(request: HttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(User, pk=pk)
    form = NewOwnerForm(found, request.POST)
    to = form.cleaned_data["new_owner"] if form.is_valid() else None
    if to is None:
        messages.info(request, "Choose who gets the jobs.")
        return redirect("person", pk)
    try:
        count = changes.hand_over(found, to, person(request))
    except changes.NotPossible as why:
        messages.error(request, str(why))
    else:
        messages.success(
            request, f"{to.username} now owns {wording.jobs(count)} of {found.username}."
        )
    return redirect("person", pk)


@require_POST
@administrators_only
def person_password(request: HttpRequest, pk: int) -> HttpResponse:
    """A link with which the person chooses a new password: by mail, or shown this once."""
    found = get_object_or_404(User, pk=pk)
    try:
        changes.refuse_if_erased(found)
    except changes.NotPossible as why:
        messages.error(request, str(why))
        return redirect("person", pk)
    key = default_token_generator.make_token(found)
    args = {"uidb36": user_pk_to_url_str(found), "key": key}
    link = request.build_absolute_uri(reverse("account_reset_password_from_key", kwargs=args))
    context: dict[str, object] = {"link": link, "name": found.username}
    with transaction.atomic():
        audit.record("reset_link_made", who=person(request), target=audit.person(found))
        subject = "Choose a new password"
        is_mailed = mails.post(found.email, subject, "mails/password.txt", context)
    if is_mailed:
        messages.success(request, f"A reset link is on its way to {found.username}.")
        return redirect("person", pk)
    return render(request, "people/link.html", {**context, "found": found})


@require_POST
@administrators_only
def person_two_factor(request: HttpRequest, pk: int) -> HttpResponse:
    """For a person who has lost their phone."""
    found = get_object_or_404(User, pk=pk)
    if changes.remove_two_factor(found, person(request)):
        messages.success(request, f"{found.username} can sign in with the password alone now.")
    return redirect("person", pk)


@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def erase(request: HttpRequest, pk: int) -> HttpResponse:
    """GET says what happens. POST erases `what`: "data" or "name"."""
    found = get_object_or_404(User, pk=pk)
    if found == request.user:
        messages.error(request, "You can’t erase your own account. Another administrator can.")
        return redirect("people")
    theirs = Job.objects.filter(owner=found, trashed_at=None).exclude(state=Job.State.DELETING)
    if request.method != "POST":
        running = theirs.exclude(state__in=Job.DELETABLE).count()
        context = {"found": found, "running": running, "at_rest": theirs.count() - running}
        return render(request, "people/erase.html", context)
    if request.POST.get("what") == "data":
        trashed, running = erasure.erase_data(found, person(request))
        messages.success(request, f"Jobs of {found.username} moved to the trash: {trashed:,}.")
        if running:
            messages.warning(request, f"Still running, stop first: {wording.jobs(running)}.")
    elif request.POST.get("what") == "name":
        try:
            name = erasure.erase_name(found, person(request))
        except changes.NotPossible as why:
            messages.error(request, str(why))
        else:
            messages.success(request, f"The name is erased. The account is now called {name}.")
    return redirect("person", pk)
