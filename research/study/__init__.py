"""The paper's study: entropy models of all kinds, trained alike on the latents of one frozen analysis transform.

::

    checkpoint -- frozen f_a --> latents (cached) --> train a variant --> bits, PSNR, surprise --> records --> report
                                                           '--> fixed point --> decode times

Frozen transforms make it cheap, and make rates comparable: all variants code the same y.
"""
