"""Names as the pages and the documentation have them."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("jobs", "0032_results")]

    operations = [
        migrations.RemoveConstraint("job", "brought_in_is_no_draft"),
        migrations.RemoveConstraint("batch", "brought_in_is_never_sent"),
        migrations.RenameField("job", "brought_in", "is_external"),
        migrations.RenameField("job", "left_out_count", "skipped_count"),
        migrations.RenameField("batch", "brought_in", "is_external"),
        migrations.RenameField("batch", "adopted", "recovered"),
        migrations.AddConstraint(
            "job",
            models.CheckConstraint(
                condition=~Q(is_external=True, state="draft"), name="external_job_is_no_draft"
            ),
        ),
        migrations.AddConstraint(
            "batch",
            models.CheckConstraint(
                condition=~Q(
                    is_external=True,
                    state__in=["planning", "planned", "submitting", "unknown", "blocked"],
                ),
                name="external_batch_is_never_sent",
            ),
        ),
        migrations.RenameModel("Problem", "FileProblem"),
        migrations.RenameModel("OwnPrice", "PriceOverride"),
        migrations.RemoveConstraint("reading", "reading_once_a_place"),
        migrations.RemoveConstraint("reading", "reading_once_a_row"),
        migrations.RenameModel("Reading", "SampledAnswer"),
        migrations.AddConstraint(
            "sampledanswer",
            models.UniqueConstraint(fields=["job", "position"], name="sampled_answer_once_a_place"),
        ),
        migrations.AddConstraint(
            "sampledanswer",
            models.UniqueConstraint(fields=["job", "number"], name="sampled_answer_once_a_row"),
        ),
        migrations.RemoveConstraint("try", "try_once_a_round"),
        migrations.RenameModel("Try", "Trial"),
        migrations.AlterField(
            "trial",
            "job",
            models.ForeignKey(on_delete=models.CASCADE, related_name="trials", to="jobs.job"),
        ),
        migrations.AddConstraint(
            "trial",
            models.UniqueConstraint(fields=["job", "round", "number"], name="trial_once_a_round"),
        ),
    ]
