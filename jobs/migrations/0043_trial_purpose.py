from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0042_problem_options")]

    operations = [
        migrations.AddField(
            model_name="trial",
            name="marked_down",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="trial",
            name="purpose",
            field=models.CharField(
                choices=[("row", "Test of a row"), ("prompt", "Request for a better prompt")],
                default="row",
                max_length=6,
            ),
        ),
    ]
