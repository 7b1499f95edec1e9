"""What was spent, and how much may be. Members see their own; administrators see and set it all."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...actions import site_limits
from ...drafts import model_catalog
from ...models import Job, PriceOverride, RoleQuota, SpendingCaps, sees_everything, storage
from ...models.quotas import ROLES, quota_of, rows_this_month
from ...rules import pricing
from ...rules.spreadsheet_cells import plain_cell
from ...rules.wording import size
from ...spending import caps, days, ledger, price_overrides
from ...spending import months as spending
from ..forms.spending import LimitsForm, PriceForm, QuotasForm
from ..spending_chart import draw_chart
from . import downloads
from .access import administrators_only, everything_readers_only, person
from .fragments import whole_number

GB = 1_000_000_000
RECENT_JOBS = 200  # whose models are listed first


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """What was spent, and the limits that hold. Administrators see that of everyone, and with
    `tab=mine` their own; everybody else their own."""
    user, at = person(request), timezone.now()
    tab = "everyone" if sees_everything(user) and request.GET.get("tab") != "mine" else "mine"
    owner = None if tab == "everyone" else user
    months = spending.list_months(at, owner)
    now, allowed = months[0], SpendingCaps.get()
    used = list(caps.used_caps(user, allowed, at, teams=user.teams.all()))
    by_model = {model_catalog.name_of(key): value for key, value in now.by_model.items()}
    parts = [("By template", _sorted(now.by_template)), ("By model", _sorted(by_model))]
    if owner is None:
        used = [one for one in used if one.whose == "everyone"]
        parts.insert(0, ("By person", _sorted(now.by_person)))
    context = {
        "tab": tab,
        "caps": allowed,
        "used": used,
        "now": now,
        "months": months,
        "dearest": max((month.charged for month in months), default=0),
        "chart": draw_chart(days.list_days(at, owner)),
        "accuracy": None if owner else spending.measure_accuracy(months[-1].begins),
        "quota": _quota_in_words(user, at) if tab == "mine" else "",
        "parts": [(title, sums) for title, sums in parts if sums],
    }
    return render(request, "spending/overview.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@everything_readers_only
def limits(request: HttpRequest) -> HttpResponse:
    """GET shows the limits and the switch, POST changes the limits."""
    allowed = SpendingCaps.get()
    initial = {name: getattr(allowed, name) for name in site_limits.CAPS}
    form = LimitsForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        site_limits.change_limits(form.cleaned_data, person(request))
        messages.success(request, "Limits saved.")
        if why := caps.why_approval_is_short(form.cleaned_data["approval_above"]):
            messages.warning(request, why)
        return redirect("spending_limits")
    context = {"tab": "limits", "caps": allowed, "form": form, "quotas_form": _quotas_form()}
    return render(request, "spending/limits.html", context, status=422 if form.errors else 200)


def _quotas_form() -> QuotasForm:
    initial: dict[str, Any] = {}
    for one in RoleQuota.objects.all():
        initial[f"{one.role}_gb"] = None if one.most_bytes is None else Decimal(one.most_bytes) / GB
        initial[f"{one.role}_rows"] = one.most_rows
    return QuotasForm(initial=initial)


@require_POST
@administrators_only
def quotas(request: HttpRequest) -> HttpResponse:
    """What one person may take up."""
    form = QuotasForm(request.POST)
    if not form.is_valid():
        context = {
            "tab": "limits",
            "caps": (allowed := SpendingCaps.get()),
            "form": LimitsForm(initial={name: getattr(allowed, name) for name in site_limits.CAPS}),
            "quotas_form": form,
        }
        return render(request, "spending/limits.html", context, status=422)
    found = form.cleaned_data
    values: dict[str, tuple[int | None, int | None]] = {}
    for role in ROLES:
        most = found[f"{role}_gb"]
        values[role] = (None if most is None else int(most * GB), found[f"{role}_rows"])
    site_limits.change_quotas(values, person(request))
    messages.success(request, "Quotas saved.")
    return redirect("spending_limits")


def _quota_in_words(user: User, at: datetime) -> str:
    """ "2.1 of 20 GB, 12,000 of 100,000 rows this month" """
    quota, rows = quota_of(user), rows_this_month(user, at)
    used = f"{size(storage.bytes_used(user))} of {size(quota.bytes)}"
    of = "" if quota.rows is None else f" of {quota.rows:,}"
    return f"{used}, {rows:,}{of} rows this month"


def _sorted(sums: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(sums.items(), key=lambda pair: -pair[1])


def _models_in_use() -> set[str]:
    """The models of the newest jobs that were sent."""
    sent = Job.objects.exclude(confirmed_at=None).order_by("-confirmed_at")[:RECENT_JOBS]
    return {recipe.model for recipe in sent.values_list("recipe", flat=True)}


@require_http_methods(["GET", "HEAD", "POST"])
@everything_readers_only
def prices(request: HttpRequest) -> HttpResponse:
    """GET shows the prices that hold, with where each is from; POST enters one, or withdraws the
    one with the id `withdraw`."""
    form = PriceForm(request.POST or None, initial={"since": timezone.now().date()})
    if request.method == "POST" and "withdraw" in request.POST:
        price_overrides.withdraw_price(whole_number(request.POST["withdraw"]), person(request))
        messages.success(request, "Price withdrawn. Drafts get a new estimate.")
        return redirect("spending_prices")
    if request.method == "POST" and form.is_valid():
        price_overrides.add_price(**form.cleaned_data, user=person(request))
        messages.success(request, "Price saved. Drafts get a new estimate.")
        return redirect("spending_prices")
    known = [one for one in pricing.priced_models() if one.status != "retired"]
    in_use = _models_in_use()
    context = {
        "form": form,
        "in_use": [one for one in known if one.id in in_use],
        "others": [one for one in known if one.id not in in_use],
        "without_price": [offer for offer in model_catalog.list_models() if not offer.has_price],
        "own": PriceOverride.objects.filter(withdrawn_at=None).select_related("entered_by"),
        "usual": pricing.source(),
    }
    return render(request, "spending/prices.html", context, status=422 if form.errors else 200)


@require_POST
@administrators_only
def switch(request: HttpRequest) -> HttpResponse:
    """`stop`: "yes" to send nothing more, "no" to go on."""
    if request.POST.get("stop") == "yes":
        site_limits.stop_spending(person(request))
        messages.warning(request, "All spending is stopped. Batches already sent continue.")
    else:
        site_limits.allow_spending(person(request))
        messages.success(request, "Spending is allowed again. Jobs resume automatically.")
    return redirect("spending_limits")


@require_safe
@everything_readers_only
def download(request: HttpRequest) -> StreamingHttpResponse:
    """All that was charged in the last twelve months, as CSV."""
    begin = spending.months_back(timezone.now())[-1]
    downloads.note("spending_downloaded", request)
    response = StreamingHttpResponse(_lines(begin))
    return downloads.to_be_saved(request, response, "spending.csv")


class _Echo:
    def write(self, text: str) -> str:
        return text


def _lines(begin: Any) -> Iterator[str]:
    writer = csv.writer(_Echo())
    names = ("date", "person", "template", "job", "model", "what", "usd")
    yield "\ufeff" + str(writer.writerow(names))
    for one in ledger.charges(begin):
        cells = (one.person, one.template, one.job, one.model, one.what)
        yield str(
            writer.writerow(
                [f"{one.at:%Y-%m-%d}", *map(plain_cell, cells), format(one.amount, "f")]
            )
        )
