r"""Many pictures at once: plan, workers, report.

::

    sources, folder --(plan)--> jobs --(local: processes of this machine, or cluster: Ray)--> outcomes --(report)
                                        \\-- in each worker: work, a codec that is loaded once

A batch keeps no state but its files: targets are written atomically, so the same command resumes an interrupted batch.
No module here imports torch; the workers do.
"""
