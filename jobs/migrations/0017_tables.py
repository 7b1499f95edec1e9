from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0016_review"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="row",
            index=models.Index(
                fields=["job", "outcome", "cause", "cost_pico", "number"], name="row_cost"
            ),
        ),
        migrations.AddIndex(
            model_name="row",
            index=models.Index(
                fields=["job", "outcome", "cause", "output_tokens", "number"], name="row_output"
            ),
        ),
    ]
