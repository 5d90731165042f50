"""Fine-tuning, run as a subprocess.

    spec, job, events, process   what worker and gateway need
    encode, dataset              from conversations to ids and labels
    hyperparameters              what is automatic, settled
    main, stop, train, trainer   the subprocess
    alive                        that it has not hung
    reporting, result, merge     what it says and leaves

The modules of the first line, `encode`, `hyperparameters` and `alive` import no model framework.
"""
