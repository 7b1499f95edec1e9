from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0049_audit_check"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="private_columns",
            field=models.JSONField(default=list),
        ),
    ]
