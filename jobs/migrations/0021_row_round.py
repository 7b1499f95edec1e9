from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def take_from_batches(apps, _schema_editor):
    Row, Batch = apps.get_model("jobs", "Row"), apps.get_model("jobs", "Batch")
    again = list(Batch.objects.filter(round__gt=1).values_list("pk", flat=True))
    own = Batch.objects.filter(pk=OuterRef("batch"))
    Row.objects.filter(batch__in=again).update(round=Subquery(own.values("round")[:1]))


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0020_rows_changed"),
    ]

    operations = [
        migrations.AddField(
            model_name="row",
            name="round",
            field=models.IntegerField(db_default=1, default=1),
        ),
        migrations.RunPython(take_from_batches, migrations.RunPython.noop, elidable=True),
    ]
