r"""Many pictures: what is to be done, who does it, and what came of it.

::

    sources, folder --(plan)--> jobs --(local: processes of this machine, or cluster: Ray)--> outcomes --(report)
                                        \\-- in each worker: work, a codec that is loaded once

Nothing is kept between runs but the files themselves: a target is written whole or not at all, so the same command
goes on where a stopped one ended. No module here imports torch; workers do.
"""
