"""Fine-tuning, run as a subprocess.

    spec, job, events, process   what worker and gateway need
    local                        a trajectory trained without a worker
    encode, dataset              from conversations to ids and labels
    hyperparameters              what is automatic, settled
    learning_rate                which rate suits a small model, by trying
    main, stop, train, trainer   the subprocess
    alive, finite                that it has not hung, and computes numbers
    reporting, result, merge     what it says and leaves
    keep                         what it keeps of a trajectory

The modules of the first two lines, `encode`, `hyperparameters`, `alive` and `finite` import no model framework.
"""
