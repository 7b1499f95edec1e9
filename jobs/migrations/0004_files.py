from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def one_by_one(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """What was found in files before is kept as it was said, each for itself."""
    problems = apps.get_model("jobs", "Problem").objects
    for problem in problems.iterator():
        problem.lines, problem.texts = [problem.line or 0], [problem.text]
        problem.leaves_out = problem.row_left_out
        problem.save()


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_proven")]

    operations = [
        migrations.AddField("job", "choices", models.JSONField(default=dict)),
        migrations.AddField("job", "readings", models.IntegerField(default=0)),
        migrations.AddField("problem", "kind", models.CharField(default="", max_length=20)),
        migrations.AddField("problem", "count", models.IntegerField(default=1)),
        migrations.AddField("problem", "lines", models.JSONField(default=list)),
        migrations.AddField("problem", "texts", models.JSONField(default=list)),
        migrations.AddField("problem", "leaves_out", models.BooleanField(default=False)),
        migrations.AddField("problem", "fix", models.CharField(default="", max_length=200)),
        migrations.RunPython(one_by_one, migrations.RunPython.noop),
        migrations.RemoveField("problem", "line"),
        migrations.RemoveField("problem", "row_left_out"),
        migrations.RemoveField("problem", "text"),
    ]
