from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0059_right_answers")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="row_choice",
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
