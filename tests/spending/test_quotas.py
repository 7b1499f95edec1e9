"""What one person may take up, by their role."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from jobs.actions import submissions
from jobs.drafts import estimates
from jobs.models import AuditEntry, Job, RoleQuota, storage
from jobs.models.quotas import rows_this_month
from jobs.spending import caps

from ..conftest import Simulator, store_job

MakeJob = Callable[..., Job]


def priced(owner: User, rows: int) -> Job:
    job = store_job(owner, Job.State.DRAFT, rows=[["a", "b"]] * rows, prompt="Say {{text}}")
    estimates.estimate_job(job)
    job.refresh_from_db()
    return job


def test_rows_a_month_end_at_the_quota_of_the_role(
    alice: User, client_root: Client, client_alice: Client, simulator: Simulator
) -> None:
    answer = client_root.post("/spending/quotas/", {"member_rows": "3", "member_gb": "0.5"})
    assert answer.status_code == 302
    first, second = priced(alice, 2), priced(alice, 2)
    assert submissions.confirm(first, first.plan_sha256, alice)
    with pytest.raises(caps.NotAllowed, match="2 of your quota of 3 rows this month"):
        submissions.confirm(second, second.plan_sha256, alice)
    assert "of 500" in (page := client_alice.get("/spending/").content.decode())
    assert "2 of 3 rows this month" in page
    Job.objects.filter(pk=first.pk).update(confirmed_at=timezone.now().replace(year=2020))
    assert rows_this_month(alice, timezone.now()) == 0
    assert submissions.confirm(second, second.plan_sha256, alice), "next month"
    entry = AuditEntry.objects.get(event="quotas_changed")
    assert entry.detail.after["member_rows_a_month"] == 3
    assert client_root.post("/spending/quotas/", {"member_rows": "-1"}).status_code == 422


def test_disk_by_role(make_job: MakeJob, alice: User, root: User) -> None:
    make_job(alice, upload_bytes=900)
    make_job(root, upload_bytes=900)
    RoleQuota.objects.create(role="member", most_bytes=1_000)
    storage.require_quota(root, 500_000)
    with pytest.raises(storage.NoRoom, match=r"disk quota.*ask an administrator"):
        storage.require_quota(alice, 500_000)
    RoleQuota.objects.create(role="administrator", most_bytes=1_000)
    with pytest.raises(storage.NoRoom, match="quota of administrators under Spending, Limits"):
        storage.require_quota(root, 500_000)
