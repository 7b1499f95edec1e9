"""Every address of the site."""

from __future__ import annotations

from django.urls import path

from .views import accounts, downloads, draft, jobs, people, restored, rows, tries, trouble, watch

urlpatterns = [
    path("setup/", accounts.setup, name="setup"),
    path("login/", accounts.login, name="login"),
    path("logout/", accounts.logout, name="logout"),
    path("password/", accounts.password, name="password"),
    path("people/", people.people, name="people"),
    path("people/<int:pk>/active/", people.person_active, name="person_active"),
    path("people/<int:pk>/password/", people.person_password, name="person_password"),
    path("restored/", restored.restored, name="restored"),
    path("restored/look/", restored.look, name="restored_look"),
    path("restored/seen/", restored.seen, name="restored_seen"),
    path("", jobs.jobs, name="jobs"),
    path("jobs/new/", jobs.new_job, name="new_job"),
    path("jobs/new/sample/", jobs.new_sample_job, name="new_sample_job"),
    path("jobs/new/pasted/", jobs.new_pasted_job, name="new_pasted_job"),
    path("samples/<str:name>", jobs.sample, name="sample"),
    path("jobs/<int:pk>/", watch.job, name="job"),
    path("jobs/<int:pk>/status/", watch.status, name="status"),
    path("jobs/<int:pk>/recipe/", draft.recipe, name="recipe"),
    path("jobs/<int:pk>/reading/", draft.reading, name="reading"),
    path("jobs/<int:pk>/correct/", draft.correct, name="correct"),
    path("jobs/<int:pk>/replace/", draft.replace, name="replace"),
    path("jobs/<int:pk>/try/", tries.try_rows, name="try_rows"),
    path("jobs/<int:pk>/tries/", tries.tries, name="tries"),
    path("jobs/<int:pk>/tries/compare/", tries.compare, name="compare"),
    path("jobs/<int:pk>/tries/<int:number>/use/", tries.use, name="use_try"),
    path("jobs/<int:pk>/tries/<int:try_pk>/example/", tries.example, name="use_example"),
    path("jobs/<int:pk>/price/", draft.price_card, name="price"),
    path("jobs/<int:pk>/advice/", draft.take_advice, name="take_advice"),
    path("jobs/<int:pk>/confirm/", draft.confirm, name="confirm"),
    path("jobs/<int:pk>/stop/", watch.stop, name="stop"),
    path("jobs/<int:pk>/try-again/", trouble.try_again, name="try_again"),
    path("jobs/<int:pk>/send-now/", trouble.send_now, name="send_now"),
    path("jobs/<int:pk>/finish-without/", trouble.finish_without, name="finish_without"),
    path("jobs/<int:pk>/send-rows-again/", trouble.send_rows_again, name="send_rows_again"),
    path("jobs/<int:pk>/rename/", jobs.rename, name="rename"),
    path("jobs/<int:pk>/delete/", jobs.delete, name="delete"),
    path("jobs/<int:pk>/rows/", rows.rows, name="rows"),
    path("jobs/<int:pk>/rows/<int:number>/", rows.row, name="row"),
    path("jobs/<int:pk>/download/<str:kind>/", downloads.download, name="download"),
    path("jobs/<int:pk>/batches/<int:number>/raw/", downloads.batch_raw, name="batch_raw"),
    path("jobs/<int:pk>/batches/<int:number>/look-again/", trouble.look_again, name="look_again"),
    path("jobs/<int:pk>/batches/<int:number>/send-again/", trouble.send_again, name="send_again"),
    path("jobs/<int:pk>/batches/<int:number>/this-is-it/", trouble.this_is_it, name="this_is_it"),
]
