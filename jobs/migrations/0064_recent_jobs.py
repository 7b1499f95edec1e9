from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0063_chains")]

    operations = [
        migrations.RemoveField(model_name="heartbeat", name="next_tick_at"),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(fields=["-created_at", "-id"], name="job_newest_of_all"),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("lease_until__isnull", False)),
                fields=["lease_until"],
                name="job_leased",
            ),
        ),
    ]
