from typing import Any

from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Cast, Concat, Now


def note_erased_people(apps: Any, schema_editor: Any) -> None:
    """Those whose name was erased before that was noted."""
    name = Concat(models.Value("erased-"), Cast("person_id", models.CharField()))
    profiles = apps.get_model("jobs", "Profile").objects.annotate(name=name)
    erased = profiles.filter(person__username=F("name"), person__is_active=False)
    erased = erased.filter(person__password__startswith="!")  # noqa: S106 - that none fits
    found = list(erased.values_list("pk", flat=True))
    apps.get_model("jobs", "Profile").objects.filter(pk__in=found).update(erased_at=Now())


def forget_names(apps: Any, schema_editor: Any) -> None:
    """Where they are of no use any more: they would outlive the people."""
    over = Q(used_at__isnull=False) | Q(withdrawn_at__isnull=False)
    apps.get_model("jobs", "Invitation").objects.filter(over).update(mail="")
    events = apps.get_model("jobs", "JobEvent").objects
    handed = events.filter(text__startswith="Handed over from ", text__contains=" to ")
    handed.update(text="Handed over to another owner.")


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0055_site_health"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="retention_changed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="profile",
            name="erased_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="retention",
            name="changed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.RunPython(note_erased_people, migrations.RunPython.noop),
        migrations.RunPython(forget_names, migrations.RunPython.noop),
    ]
