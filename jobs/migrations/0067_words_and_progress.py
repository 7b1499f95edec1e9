from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0066_count_anew"),
        # As the squashed migration has them: who has this one has them, too.
        ("mfa", "0003_authenticator_type_uniq"),
        ("socialaccount", "0006_alter_socialaccount_extra_data"),
        ("usersessions", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="export",
            name="written",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name="attempt",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("waiting", "Waiting"),
                    ("good", "Good"),
                    ("look", "Check this"),
                    ("errored", "Failed"),
                    ("expired", "Not reached in 24 hours"),
                    ("canceled", "Stopped by you"),
                    ("left_out", "Skipped"),
                ],
                default="waiting",
                max_length=8,
            ),
        ),
        migrations.AlterField(
            model_name="row",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("waiting", "Waiting"),
                    ("good", "Good"),
                    ("look", "Check this"),
                    ("errored", "Failed"),
                    ("expired", "Not reached in 24 hours"),
                    ("canceled", "Stopped by you"),
                    ("left_out", "Skipped"),
                ],
                default="waiting",
                max_length=8,
            ),
        ),
        migrations.AlterField(
            model_name="trial",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("waiting", "Waiting"),
                    ("good", "Good"),
                    ("look", "Check this"),
                    ("errored", "Failed"),
                    ("expired", "Not reached in 24 hours"),
                    ("canceled", "Stopped by you"),
                    ("left_out", "Skipped"),
                ],
                default="waiting",
                max_length=8,
            ),
        ),
    ]
