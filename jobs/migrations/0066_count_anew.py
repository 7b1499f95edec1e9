from django.db import migrations

SENT = ["submitting", "working", "canceling", "finished"]


def count_anew(apps, schema_editor):
    """Their receipts are added up from now on when they are counted. The worker does it, a few jobs
    at a time: see row_versions.COUNT_ANEW. Their rows are as they were, so rows_version stays."""
    apps.get_model("jobs", "Job").objects.filter(state__in=SENT).update(tally_version=-1)


class Migration(migrations.Migration):
    dependencies = [("jobs", "0065_search_index")]

    operations = [migrations.RunPython(count_anew, migrations.RunPython.noop)]
