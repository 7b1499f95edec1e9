"""What was spent, and how much may be; for administrators only."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ...drafts import model_catalog
from ...models import PriceOverride, SpendingCaps
from ...rules import pricing
from ...rules.spreadsheet_cells import plain_cell
from ...spending import caps, ledger, price_overrides
from ...spending import months as spending
from ..forms.spending import LimitsForm, PriceForm
from .access import administrators_only, person
from .downloads import to_be_saved
from .fragments import whole_number

CAPS = ("most_a_job", "most_a_person", "most_a_month", "approval_above")


@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def overview(request: HttpRequest) -> HttpResponse:
    """GET shows what was spent and the caps, POST changes these."""
    allowed = SpendingCaps.get()
    initial = {name: getattr(allowed, name) for name in CAPS}
    form = LimitsForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        SpendingCaps.row().update(**form.cleaned_data)
        messages.success(request, "Limits saved.")
        if why := caps.why_approval_is_short(form.cleaned_data["approval_above"]):
            messages.warning(request, why)
        return redirect("spending")
    months = spending.list_months(timezone.now())
    now = months[0]
    context = {
        "caps": allowed,
        "form": form,
        "now": now,
        "months": months,
        "dearest": max((month.charged for month in months), default=0),
        "accuracy": spending.measure_accuracy(months[-1].begins),
        "taken_up": ledger.committed_since(now.begins),
        "parts": [
            ("By person", _sorted(now.by_person)),
            ("By template", _sorted(now.by_template)),
            ("By model", _sorted({model_catalog.name_of(k): v for k, v in now.by_model.items()})),
        ],
    }
    return render(request, "spending/overview.html", context, status=422 if form.errors else 200)


def _sorted(sums: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(sums.items(), key=lambda pair: -pair[1])


@require_http_methods(["GET", "HEAD", "POST"])
@administrators_only
def prices(request: HttpRequest) -> HttpResponse:
    """GET shows the prices that hold, with where each is from; POST enters one, or withdraws the
    one with the id `withdraw`."""
    form = PriceForm(request.POST or None, initial={"since": timezone.now().date()})
    if request.method == "POST" and "withdraw" in request.POST:
        price_overrides.withdraw_price(whole_number(request.POST["withdraw"]))
        messages.success(request, "Withdrawn. Drafts are priced anew.")
        return redirect("spending_prices")
    if request.method == "POST" and form.is_valid():
        price_overrides.add_price(**form.cleaned_data, user=person(request))
        messages.success(request, "Entered. It holds from that day on; drafts are priced anew.")
        return redirect("spending_prices")
    context = {
        "form": form,
        "models": [known for known in pricing.priced_models() if known.status != "retired"],
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
        SpendingCaps.row().filter(stopped_at=None).update(stopped_at=timezone.now())
        messages.warning(request, "All spending is stopped. What was sent already goes on.")
    else:
        SpendingCaps.row().update(stopped_at=None)
        messages.success(request, "Jobs are sent again.")
    return redirect("spending")


@require_safe
@administrators_only
def download(request: HttpRequest) -> StreamingHttpResponse:
    """All that was charged in the last twelve months, as CSV."""
    begin = spending.months_back(timezone.now())[-1]
    response = StreamingHttpResponse(_lines(begin))
    return to_be_saved(response, "spending.csv")


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
