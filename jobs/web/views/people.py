"""Who may use this site; for administrators only."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from ..forms.people import NewPersonForm, SetPasswordForm
from .access import administrators_only

PAGE = 50


@sensitive_post_parameters("password1", "password2")
@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def people(request: HttpRequest) -> HttpResponse:
    form = NewPersonForm(request.POST or None)
    if form.is_valid():
        person = form.make(administrator=form.cleaned_data["administrator"])
        messages.success(
            request, f"{person.username} can sign in now. Tell them their user name and password."
        )
        return redirect("people")
    everyone = User.objects.annotate(job_count=Count("job")).order_by("username")
    page = Paginator(everyone, PAGE).get_page(request.GET.get("page"))
    return render(request, "people/list.html", {"form": form, "page": page})


@require_POST
@administrators_only
def person_active(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a person in (active=yes) or shut them out (active=no); their jobs stay."""
    person = get_object_or_404(User, pk=pk)
    active = request.POST.get("active") == "yes"
    if person == request.user:
        messages.error(request, "You cannot shut yourself out. Another administrator can.")
    else:
        User.objects.filter(pk=pk).update(is_active=active)
        words = "can sign in again" if active else "can no longer sign in; their jobs are kept"
        messages.success(request, f"{person.username} {words}.")
    return redirect("people")


@sensitive_post_parameters("new_password1", "new_password2")
@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def person_password(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a person a new password; they are signed out everywhere."""
    person = get_object_or_404(User, pk=pk)
    form = SetPasswordForm(person, request.POST or None)
    if form.is_valid():
        form.save()
        messages.success(request, f"{person.username} has a new password. Tell them what it is.")
        return redirect("people")
    return render(request, "people/password.html", {"form": form, "person": person})
