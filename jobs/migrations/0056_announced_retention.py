from django.db import migrations, models


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
            model_name="retention",
            name="changed_at",
            field=models.DateTimeField(null=True),
        ),
    ]
