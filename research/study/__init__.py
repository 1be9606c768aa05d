"""The ablation study of the paper: entropy models trained on the latents of one frozen analysis transform.

::

    checkpoint -- frozen f_a --> latents (cached) --> train a variant --> bits, PSNR, surprise --> records --> report
                                                           '--> fixed point --> decode times

Frozen transforms make training fast and rates comparable: all variants code the same y.
"""
