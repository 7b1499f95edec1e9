"""The two promises, never pay twice and never lose a result, under faults and kills.

`make torture` runs a site again and again: a real web server, real workers and the pretend
provider, each a process of its own. Everything else is drawn from the run's seed: files and jobs,
faults of the provider, and when which process is killed. When all jobs are final and everything has
come to rest, the invariants are checked against what the provider knows.

plans.py       what a seed stands for
processes.py   processes that are forked, watched and killed
hosts.py       a second machine, whose cable can be pulled out
site.py        the processes of one site, and their deaths
person.py      what the person does, over HTTP
facts.py       what is known after a run: by the site, by the provider, by the person
told.py        a webhook, and what has to be true of what it got
invariants.py  what has to be true of that
runs.py        one run from its plan to its result
reports.py     the sum of many runs
"""
