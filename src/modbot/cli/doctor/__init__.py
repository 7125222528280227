"""`modbot doctor`: finds what is wrong and says, for each finding, its cause, its effect and the fix.

Three parts that know nothing of each other. `looking` and the modules beside it collect *facts* and judge nothing; what they could not
look at they say in `Facts.unseen`. The modules of `checks` are pure: facts go in, findings come out, root causes first. `printing` shows
them. So a rule is tested with a few facts, and a new place to look at needs no new rule.

A finding is *wrong* (something does not work now, or cannot start) or a *warning* (it works, and the next fault will hurt). Only what is wrong
makes the exit code 1. The doctor changes nothing, and never prints a secret.
"""
